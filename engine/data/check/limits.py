"""The thresholds of the audit, as `configs/check.yaml` states them, and the symbol changes."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from engine.config.load import find_config
from engine.config.section import Count, NonNegative, Positive, Section, Share
from engine.errors import UsageError
from engine.yaml_file import read_yaml

__all__ = ["Limits", "SymbolChange", "load_limits", "load_symbol_changes"]

Fraction = Annotated[float, Field(gt=0, le=1)]


class SplitLimits(Section):
    """When an overnight jump is a split."""

    tolerance: Positive
    sigmas: Positive
    value_ratio: Positive
    small: Annotated[float, Field(ge=1)]
    small_tolerance: Positive
    small_value_ratio: Positive
    persistence: Positive


class DistributionLimits(Section):
    """When an overnight drop is a dividend or a spin-off."""

    drop: Positive
    sigmas: Positive
    crowd_sigmas: Positive
    value_ratio: Positive
    kept: Share


class RangeLimits(Section):
    """When the range of a bar is extreme."""

    range: Positive
    wick: Positive
    usual: Positive
    usual_range: Positive


class StaleLimits(Section):
    """When unchanged closes are stale."""

    run: Annotated[int, Field(ge=2)]


class SessionLimits(Section):
    """When a gap is a missing session, everybody's, or another company."""

    reuse_days: Count
    shared: Fraction


class SurvivorshipLimits(Section):
    """When too few names end."""

    names: Count
    years: Positive
    ended_per_year: NonNegative


class CalendarLimits(Section):
    """When the calendar is another one."""

    extra_share: Fraction


class CurrencyLimits(Section):
    """When prices change their unit."""

    factor: Annotated[float, Field(gt=1)]
    tolerance: Positive


class ZoneLimits(Section):
    """When times are of another zone."""

    outside: Fraction
    shifted: Count


class Limits(Section):
    """All thresholds; every key is required and no other is known."""

    split: SplitLimits
    distribution: DistributionLimits
    extreme_range: RangeLimits
    stale: StaleLimits
    sessions: SessionLimits
    survivorship: SurvivorshipLimits
    calendar: CalendarLimits
    currency: CurrencyLimits
    zone: ZoneLimits


class SymbolChange(Section):
    """Before `from` the symbol's bars are those of another security."""

    ticker: str
    since: date = Field(alias="from")
    before: str


def load_limits(file: str | Path = "check.yaml") -> Limits:
    """The thresholds of a file, or of that name in the configs folder. Raises UsageError."""
    path = find_config(file)
    try:
        return Limits.model_validate(read_yaml(path))
    except ValidationError as error:
        raise UsageError(_explain(path, error)) from None


def load_symbol_changes(file: str | Path = "symbol_changes.yaml") -> tuple[SymbolChange, ...]:
    """The symbol changes of a file, or of that name in the configs folder. Raises UsageError."""
    path = find_config(file)
    try:
        return TypeAdapter(tuple[SymbolChange, ...]).validate_python(read_yaml(path) or ())
    except ValidationError as error:
        raise UsageError(_explain(path, error)) from None


def _explain(path: Path, error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    return f"{path}: {key}: {first['msg'].lower()} (found {first['input']!r})"

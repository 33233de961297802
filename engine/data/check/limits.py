"""The thresholds of the audit, as `configs/check.yaml` states them, and the symbol changes."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from engine.config.load import find_config
from engine.errors import UsageError

__all__ = ["Limits", "SymbolChange", "load_limits", "load_symbol_changes"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SplitLimits(_Section):
    """When an overnight jump is a split."""

    tolerance: float = Field(gt=0)
    sigmas: float = Field(gt=0)
    value_ratio: float = Field(gt=0)
    small: float = Field(ge=1)
    small_tolerance: float = Field(gt=0)
    small_value_ratio: float = Field(gt=0)
    persistence: float = Field(gt=0)


class DistributionLimits(_Section):
    """When an overnight drop is a dividend or a spin-off."""

    drop: float = Field(gt=0)
    sigmas: float = Field(gt=0)
    crowd_sigmas: float = Field(gt=0)
    value_ratio: float = Field(gt=0)
    kept: float = Field(ge=0, le=1)


class RangeLimits(_Section):
    """When the range of a bar is extreme."""

    range: float = Field(gt=0)
    wick: float = Field(gt=0)
    usual: float = Field(gt=0)
    usual_range: float = Field(gt=0)


class StaleLimits(_Section):
    """When unchanged closes are stale."""

    run: int = Field(ge=2)


class SessionLimits(_Section):
    """When a gap is a missing session, everybody's, or another company."""

    reuse_days: int = Field(ge=1)
    shared: float = Field(gt=0, le=1)


class SurvivorshipLimits(_Section):
    """When too few names end."""

    names: int = Field(ge=1)
    years: float = Field(gt=0)
    ended_per_year: float = Field(ge=0)


class CalendarLimits(_Section):
    """When the calendar is another one."""

    extra_share: float = Field(gt=0, le=1)


class CurrencyLimits(_Section):
    """When prices change their unit."""

    factor: float = Field(gt=1)
    tolerance: float = Field(gt=0)


class ZoneLimits(_Section):
    """When times are of another zone."""

    outside: float = Field(gt=0, le=1)
    shifted: int = Field(ge=1)


class Limits(_Section):
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


class SymbolChange(_Section):
    """Before `from` the symbol's bars are those of another security."""

    ticker: str
    since: date = Field(alias="from")
    before: str


def load_limits(file: str | Path = "check.yaml") -> Limits:
    """The thresholds of a file, or of that name in the configs folder. Raises UsageError."""
    path, content = _read(file)
    try:
        return Limits.model_validate(content)
    except ValidationError as error:
        raise UsageError(_explain(path, error)) from None


def load_symbol_changes(file: str | Path = "symbol_changes.yaml") -> tuple[SymbolChange, ...]:
    """The symbol changes of a file, or of that name in the configs folder. Raises UsageError."""
    path, content = _read(file)
    try:
        return TypeAdapter(tuple[SymbolChange, ...]).validate_python(content or ())
    except ValidationError as error:
        raise UsageError(_explain(path, error)) from None


def _read(file: str | Path) -> tuple[Path, Any]:
    path = find_config(file)
    try:
        return path, yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from None


def _explain(path: Path, error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    return f"{path}: {key}: {first['msg'].lower()} (found {first['input']!r})"

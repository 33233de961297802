"""The thresholds of the gates, as ``configs/gates.yaml`` states them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

__all__ = ["GateRules", "parse_gate_rules"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SampleRules(_Section):
    """Below this nothing is decided: median names a date, judged dates of a horizon."""

    names: int = Field(ge=1)
    dates: int = Field(ge=1)

    def shortage(self, key: str, figures: Mapping[str, Any]) -> str | None:
        """Why this horizon decides nothing, or None where it has enough names and dates."""
        dates, names = figures["n_dates"], figures["n_names_median"] or 0
        if dates < self.dates:
            return f"{dates} judged dates at {key} sessions, {self.dates} are needed."
        if names < self.names:
            return f"{names:g} names a date at {key} sessions, {self.names} are needed."
        return None

    def shortage_everywhere(self, horizons: Mapping[str, Mapping[str, Any]]) -> str | None:
        """Why nothing at all can be decided, or None."""
        found = [self.shortage(key, figures) for key, figures in horizons.items()]
        if not found:
            return "There is no date outside the model's training period to judge."
        if not all(found):
            return None
        dates = max(figures["n_dates"] for figures in horizons.values())
        names = max(figures["n_names_median"] or 0 for figures in horizons.values())
        reasons = []
        if dates and names < self.names:
            reasons.append(f"{names:g} names a date, {self.names} are needed.")
        if dates < self.dates:
            reasons.append(f"{dates} judged dates, {self.dates} are needed.")
        return " ".join(reasons or [reason for reason in found if reason])


class RegimeRules(_Section):
    """Below this a regime slice is thin: shown, not judged."""

    min_dates: int = Field(ge=1)
    min_names: int = Field(ge=1)


class FactorRules(_Section):
    """Gate 1: mean RankIC on enough horizons, and no known factor under another name."""

    rank_ic: float
    horizons: int = Field(ge=1)
    redundancy: float = Field(gt=0, le=1)


class MachineLearningRules(_Section):
    """Gate 2: a high RankIC, or close to a baseline trained under the same rules."""

    rank_ic: float
    floor: float
    baseline_gap: float = Field(ge=0)
    horizons: int = Field(ge=1)
    reference: dict[int, float]


class PracticalRules(_Section):
    """Gate 3: little enough trading, and something left after its cost."""

    churn: float = Field(ge=0, le=1)
    cost_survival: float = Field(ge=0, le=1)
    net_excess: float


class GateRules(_Section):
    """All rules of ``configs/gates.yaml``; every key is required and no other is known."""

    sample: SampleRules
    regimes: RegimeRules
    factor: FactorRules
    ml: MachineLearningRules
    practical: PracticalRules


def parse_gate_rules(rules: Mapping[str, Any], *, source: str = "configs/gates.yaml") -> GateRules:
    """Rules from a parsed YAML file.

    Raises ValueError in one line naming the source, the key, and the nearest valid key where it is
    unknown.
    """
    if not isinstance(rules, Mapping):
        raise ValueError(f"{source}: must hold the sections {', '.join(GateRules.model_fields)}")
    try:
        return GateRules.model_validate(dict(rules))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            nearest = difflib.get_close_matches(key, _known_keys(GateRules), n=1, cutoff=0.3)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise ValueError(f"{source}: unknown key {key}{hint}") from None
        if first["type"] == "missing":
            raise ValueError(f"{source}: {key} is missing") from None
        message = first["msg"]
        raise ValueError(f"{source}: {key}: {message} (found {first['input']!r})") from None


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _known_keys(field.annotation, f"{prefix}{name}.")
    return keys

"""What the three gates share: too little to decide on, and figures by horizon."""

from __future__ import annotations

from typing import Any

from backtest.gates.rules import GateRules

from ..judge import Judgement

__all__ = ["NO_BASELINE", "number", "per_horizon", "shortage", "shortage_everywhere"]

NO_BASELINE = "no baseline in this run"


def shortage(key: str, figures: dict[str, Any], rules: GateRules) -> str | None:
    """Why this horizon decides nothing, or None where it has enough names and dates."""
    dates, names = figures["n_dates"], figures["n_names_median"] or 0
    if dates < rules.sample.dates:
        return f"{dates} judged dates at {key} sessions, {rules.sample.dates} are needed."
    if names < rules.sample.names:
        return f"{names:g} names a date at {key} sessions, {rules.sample.names} are needed."
    return None


def shortage_everywhere(judgement: Judgement, rules: GateRules) -> str | None:
    """Why nothing at all can be decided, or None."""
    horizons = judgement.metrics["horizons"]
    found = [shortage(key, figures, rules) for key, figures in horizons.items()]
    if not found:
        return "There is no date outside the model's training period to judge."
    if not all(found):
        return None
    dates = max(figures["n_dates"] for figures in horizons.values())
    names = max(figures["n_names_median"] or 0 for figures in horizons.values())
    reasons = []
    if dates and names < rules.sample.names:
        reasons.append(f"{names:g} names a date, {rules.sample.names} are needed.")
    if dates < rules.sample.dates:
        reasons.append(f"{dates} judged dates, {rules.sample.dates} are needed.")
    return " ".join(reasons or [reason for reason in found if reason])


def per_horizon(horizons: dict[str, Any], *names: str) -> dict[str, Any]:
    """Figure → horizon → value, as ``gates.json`` shows what decided."""
    return {name: {key: figures[name] for key, figures in horizons.items()} for name in names}


def number(value: float | None) -> str:
    """For a sentence."""
    return "unknown" if value is None else f"{value:.4f}"

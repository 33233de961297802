"""The verdict in words, and what it was judged on."""

from __future__ import annotations

from typing import Any

from .data import ReportData
from .formatting import NA, count, decimal, interval, is_number, percent
from .gate_cards import gates

__all__ = ["basis", "finding", "headline"]


def headline(data: ReportData) -> str:
    """The verdict in one sentence."""
    verdicts = [gate.verdict for gate in gates(data)]
    if not verdicts:
        return "No gate was judged."
    if data.judged_dates == 0:
        return "No verdict: not one date could be judged."
    passed, failed = verdicts.count("PASS"), verdicts.count("FAIL")
    open_ = len(verdicts) - passed - failed
    if passed == len(verdicts):
        return f"All {passed} gates passed: the score ranked returns and survived its costs."
    parts = [f"{n} {word}" for n, word in ((failed, "failed"), (open_, "inconclusive")) if n]
    start = f"{passed} of {len(verdicts)} gates passed" if passed else "No gate passed"
    end = (
        "the evidence speaks against the score as it is."
        if failed
        else "the evidence settles the score neither way."
    )
    return f"{start} ({', '.join(parts)}): {end}"


def basis(data: ReportData) -> str:
    """What the verdict rests on: dates, names and the end of the model's training."""
    run = data.run
    dates = _range([data.horizon(h).get("n_dates") for h in data.horizons])
    names = _range([data.horizon(h).get("n_names_median") for h in data.horizons])
    if data.judged_dates == 0:
        sentence = f"{count(run.get('n_asofs'))} dates were scored and none could be judged."
    else:
        sentence = (
            f"Judged on {dates} {run.get('rebalance') or ''} dates with a median of {names} names; "
            f"the scored dates run from {run.get('first_asof') or NA} to "
            f"{run.get('last_asof') or NA}."
        ).replace("  ", " ")
    return f"{sentence} {_training(data)}"


def _range(values: list[Any]) -> str:
    numbers = [v for v in values if is_number(v)]
    if not numbers:
        return NA
    low, high = min(numbers), max(numbers)
    return count(low) if low == high else f"{count(low)} to {count(high)}"


def _training(data: ReportData) -> str:
    state, until = data.run.get("training_period"), data.run.get("trained_until")
    if state == "unknown":
        return (
            "The model's training period is unknown, so no date counts as out of sample and "
            "every gate is inconclusive. Set model.trained_until to have it judged."
        )
    if state == "none" or not until:
        return "The score comes from no trained model, so every date is out of sample."
    return f"The model was trained up to {until}; only later dates count."


def finding(data: ReportData) -> str:
    """The longest judged horizon in words; empty when nothing was judged."""
    judged = [h for h in data.horizons if is_number(data.horizon(h).get("rank_ic_mean"))]
    if not judged:
        return ""
    horizon = judged[-1]
    m = data.horizon(horizon)
    text = f"At {horizon} sessions the mean RankIC is {decimal(m['rank_ic_mean'])}"
    bounds = m.get("ci95")
    if bounds and interval(bounds, decimal):
        low, high = bounds
        side = (
            "above zero"
            if low > 0
            else "below zero"
            if high < 0
            else "not distinguishable from zero"
        )
        text += f" (95% interval {decimal(low)} to {decimal(high)}): {side}"
    text += "."
    return f"{text} {_net_excess(data, horizon)}".strip()


def _net_excess(data: ReportData, horizon: int) -> str:
    m = data.horizon(horizon)
    net, k = m.get("net_excess_mean"), data.run.get("k")
    if not is_number(net):
        return ""
    names = f"The top {k} names" if is_number(k) and k > 1 else "The top name"
    verb = "beat" if net > 0 else "trailed"
    rival = data.run.get("benchmark") or "the average name"
    bounds = interval(m.get("net_excess_ci95"), percent)
    between = f" (95% interval of the excess {bounds})" if bounds else ""
    size = percent(abs(net))
    return f"{names} {verb} {rival} by {size} per {horizon} sessions after costs{between}."

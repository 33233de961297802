"""The verdict: gate cards, what they add up to, what it rests on and what limits it, as text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .data import ReportData
from .formatting import (
    NA,
    Formatter,
    count,
    decimal,
    interval,
    is_number,
    number,
    percent,
    share,
    told_apart,
)
from .tables import drops

__all__ = ["SYMBOLS", "Condition", "Gate", "basis", "caveats", "finding", "gates", "headline"]

SYMBOLS = {"PASS": "✓", "FAIL": "✗", "INCONCLUSIVE": "?"}
QUESTIONS = {
    "factor": ("Factor", "Does the score rank returns, beyond momentum?"),
    "ml": ("ML", "Is it as good as a trained baseline?"),
    "practical": ("Practical", "Does it survive costs, churn and regimes?"),
}


@dataclass(frozen=True)
class Condition:
    """One line of a gate: what was asked and the numbers that answered it."""

    name: str
    verdict: str
    symbol: str
    value: str
    interval: str
    part: bool


@dataclass(frozen=True)
class Gate:
    """One gate card. `reason` decides in one sentence, `more` holds the other reasons."""

    name: str
    title: str
    question: str
    verdict: str
    symbol: str
    reason: str
    more: list[str]
    conditions: list[Condition]


def gates(data: ReportData) -> list[Gate]:
    """The gates in the order of ``gates.json``."""
    return [_gate(entry) for entry in data.gates.get("gates") or []]


def _gate(entry: dict[str, Any]) -> Gate:
    name = str(entry.get("name", ""))
    title, question = QUESTIONS.get(name, (name.capitalize(), ""))
    verdict = str(entry.get("verdict", "INCONCLUSIVE"))
    reasons = [str(reason) for reason in entry.get("reasons") or []]
    return Gate(
        name=name,
        title=title,
        question=question,
        verdict=verdict,
        symbol=SYMBOLS.get(verdict, "?"),
        reason=reasons[0] if reasons else "No reason was recorded.",
        more=reasons[1:],
        conditions=_conditions(entry.get("conditions") or []),
    )


def _conditions(entries: list[dict[str, Any]]) -> list[Condition]:
    """Conditions that say something: a verdict or a number, or parts that do."""
    told = [e for e in entries if e.get("verdict") != "INCONCLUSIVE" or is_number(e.get("value"))]
    wholes = {e.get("part_of") for e in entries} - {None}
    speaking = {e.get("part_of") for e in told}
    return [
        _condition(entry, counts=entry.get("name") in wholes)
        for entry in told
        if entry.get("name") not in wholes or entry.get("name") in speaking
    ]


def _condition(entry: dict[str, Any], *, counts: bool) -> Condition:
    """One condition as text; the value of one that `counts` others is how many of them pass."""
    name, verdict = str(entry.get("name", "")), str(entry.get("verdict", "INCONCLUSIVE"))
    value, threshold = entry.get("value"), entry.get("threshold")
    formatter, digits, scale, unit = (count, 0, 1.0, "") if counts else _unit(name)
    text = formatter(value) if is_number(value) else ""
    if is_number(value) and is_number(threshold) and text == formatter(threshold):
        text = told_apart(value, threshold, digits=digits, scale=scale) + unit
    return Condition(
        name=name,
        verdict=verdict,
        symbol=SYMBOLS.get(verdict, "?"),
        value=text,
        interval=interval(entry.get("ci95"), formatter),
        part=entry.get("part_of") is not None,
    )


def _unit(name: str) -> tuple[Formatter, int, float, str]:
    """How a condition's number is written, by the quantity its name mentions."""
    lowered = name.lower()
    if "excess" in lowered:
        return percent, 2, 100.0, "%"
    if "survival" in lowered:
        return share, 0, 100.0, "%"
    if "regime" in lowered:
        return count, 0, 1.0, ""
    if "churn" in lowered:
        return number(2), 2, 1.0, ""
    return decimal, 3, 1.0, ""


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


def caveats(data: ReportData) -> list[str]:
    """Facts that limit how far the numbers carry; each only when it applies."""
    checks: list[Callable[[ReportData], str]] = [
        _why_empty,
        _few_names,
        _few_dates,
        _no_benchmark,
        _not_judged,
        _thin_regimes,
        _benchmark_ahead,
    ]
    return [text for check in checks if (text := check(data))]


def _why_empty(data: ReportData) -> str:
    """What was left out, when that is everything."""
    if data.judged_dates:
        return ""
    training = data.metrics.get("in_training") or {}
    parts = [f"{n}: {reason}" for reason, n in drops(data) if n != "0"]
    if training:
        parts.append(
            f"scored dates from {training.get('first_asof')} to {training.get('last_asof')} lie in "
            "the model's training period"
        )
    return f"Left out: {'; '.join(parts)}." if parts else ""


def _few_names(data: ReportData) -> str:
    names = [data.horizon(h).get("n_names_median") for h in data.horizons]
    low = min((n for n in names if is_number(n)), default=None)
    if low is None or low >= data.rules.sample.names:
        return ""
    return f"Only {count(low)} names a date: a rank correlation over so few says little."


def _few_dates(data: ReportData) -> str:
    judged = data.judged_dates
    if not 0 < judged < data.rules.sample.dates:
        return ""
    return f"Only {judged} judged dates: the intervals are rough."


def _no_benchmark(data: ReportData) -> str:
    if data.run.get("benchmark"):
        return ""
    return "No benchmark: labels are returns minus the average over the names of the date."


def _not_judged(data: ReportData) -> str:
    kinds = (
        ("n_dates_immature", "with labels not mature at the last bar"),
        ("n_dates_thin", "with too few names"),
        ("n_dates_constant", "with scores all equal"),
    )
    parts = []
    for key, why in kinds:
        left = max((data.horizon(h).get(key) or 0 for h in data.horizons), default=0)
        if left:
            parts.append(f"{count(left)} {why}")
    return f"Scored dates left unjudged, at most: {', '.join(parts)}." if parts else ""


def _thin_regimes(data: ReportData) -> str:
    slices = data.metrics.get("regimes") or []
    thin = sum(bool(s.get("thin")) for s in slices)
    return f"{thin} of {len(slices)} regime slices are thin and not judged." if thin else ""


def _benchmark_ahead(data: ReportData) -> str:
    portfolio = data.metrics.get("portfolio") or {}
    net, rival = portfolio.get("return_annual_net"), portfolio.get("benchmark_return_annual")
    if not (is_number(net) and is_number(rival) and net < rival):
        return ""
    sharpe, rival_sharpe = portfolio.get("sharpe_net"), portfolio.get("benchmark_sharpe")
    return (
        f"The portfolio returned {percent(net)} a year net (Sharpe {number(2)(sharpe)}); holding "
        f"the benchmark returned {percent(rival)} (Sharpe {number(2)(rival_sharpe)})."
    )

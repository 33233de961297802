"""Facts that limit how far a report's numbers carry."""

from __future__ import annotations

from collections.abc import Callable

from .data import ReportData
from .formatting import count, is_number, number, percent
from .lists import drops

__all__ = ["caveats"]


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
        number = max((data.horizon(h).get(key) or 0 for h in data.horizons), default=0)
        if number:
            parts.append(f"{count(number)} {why}")
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

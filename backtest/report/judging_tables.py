"""Tables of what no gate asks for: neutralised RankIC, decay, cost levels, forecast quality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .data import ReportData
from .formatting import (
    NA,
    bps,
    count,
    decimal,
    interval,
    is_number,
    number,
    percent,
    share,
)
from .tables import Cell, Row, Spec

__all__ = [
    "cost_levels",
    "decay_rows",
    "decay_summary",
    "forecast_rows",
    "importance_rows",
    "money",
    "redundancy_rows",
    "signal_rows",
    "start_rows",
    "trial_rows",
]

_FORECAST = (
    Spec("n", "Forecasts with a known outcome", count),
    Spec("mae", "Mean absolute error", percent),
    Spec("mae_persistence", "… of “the price stays”", percent),
    Spec("mae_ratio", "Ratio (below 1 beats it)", number(2)),
    Spec("directional_accuracy", "Same sign as the outcome", share),
    Spec("coverage_90", "Outcomes within q05–q95 (90% asked)", share),
    Spec("pinball_loss", "Twice the pinball loss at 5, 50, 95%", percent),
    Spec("pinball_loss_persistence", "… of “the price stays”", percent),
    Spec("n_paths_median", "Paths a forecast, median", count),
)


def money(value: Any) -> str:
    """An amount of capital: 1.2 million, 3.4 billion."""
    if not is_number(value):
        return NA
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if abs(value) >= size:
            return f"{value / size:.3g} {word}"
    return f"{value:.3g}"


def signal_rows(data: ReportData) -> list[Row]:
    """Neutralised RankIC, hit rate, monotonicity and capacity; empty where nothing was judged."""
    blocks = [data.horizon(h) for h in data.horizons]
    if not any(block.get("n_dates") for block in blocks):
        return []
    factors: list[str] = next(filter(None, (b.get("neutral_factors") for b in blocks)), [])
    free_of = " and ".join(filter(None, [", ".join(factors[:-1]), *factors[-1:]])) or "factors"
    plain = [
        Spec("neutral_rank_ic", f"RankIC, free of {free_of}", decimal, "neutral_rank_ic_ci95"),
        Spec("hit_rate", "Hit rate of the Top-K", share),
        Spec("quantile_monotonicity", "Quantile monotonicity", number(2)),
    ]
    capacity = Spec("capacity_aum", "Capacity", money).row(blocks)
    return [*(spec.row(blocks, reasons=False) for spec in plain), capacity]


def redundancy_rows(data: ReportData) -> list[Row]:
    """Median rank correlation with every factor, the strongest first."""
    factors: Mapping[str, Mapping[str, Any]] = data.metrics.get("redundancy") or {}

    def size(name: str) -> float:
        known = [abs(v) for v in factors[name].values() if is_number(v)]
        return -max(known, default=0.0)

    return [
        Row(name, name, [Cell(decimal(factors[name].get(str(h)))) for h in data.horizons])
        for name in sorted(factors, key=size)
    ]


def forecast_rows(data: ReportData) -> list[Row]:
    """Errors of the forecast returns; empty where scores are no price forecasts."""
    blocks = [data.horizon(h).get("forecast") or {} for h in data.horizons]
    if not any(blocks):
        return []
    known = [spec for spec in _FORECAST if any(is_number(b.get(spec.key)) for b in blocks)]
    return [spec.row(blocks, reasons=False) for spec in known]


def decay_summary(data: ReportData) -> list[Row]:
    """How many folds decay, one cell a horizon; empty without a fold of nine dates."""
    found = data.metrics.get("decay") or []
    if not found:
        return []
    folds = {h: [row for row in found if int(row["horizon"]) == h] for h in data.horizons}

    def cells(value: Callable[[list[dict[str, Any]]], str]) -> list[Cell]:
        return [Cell(value(folds[h]) if folds[h] else NA) for h in data.horizons]

    def flagged(flag: str) -> Callable[[list[dict[str, Any]]], str]:
        return lambda rows: f"{sum(flag in row['flags'] for row in rows)} of {len(rows)}"

    def beyond(rows: list[dict[str, Any]]) -> str:
        falls = sum(row["difference"] < -row["noise"] for row in rows)
        return f"{falls} of {len(rows)}"

    return [
        Row("decay_rapid", "RAPID: falls by more than 0.05", cells(flagged("RAPID"))),
        Row("decay_beyond", "… and by more than noise shows", cells(beyond)),
        Row("decay_noisy", "NOISY: spread over twice the median", cells(flagged("NOISY"))),
    ]


def decay_rows(data: ReportData, *, limit: int = 60) -> list[list[str]]:
    """Fold, horizon, dates, first third, last third, difference, noise, flags; the latest first."""
    rows = sorted(
        data.metrics.get("decay") or [], key=lambda r: (r["fold"], r["horizon"]), reverse=True
    )
    return [
        [
            str(row["fold"]),
            count(row["horizon"]),
            count(row["n_dates"]),
            decimal(row["first"]),
            decimal(row["last"]),
            decimal(row["difference"]),
            f"±{decimal(row['noise'])}",
            ", ".join(row["flags"]),
        ]
        for row in rows[:limit]
    ]


def importance_rows(data: ReportData) -> list[Row]:
    """Each feature's share of LightGBM's gain, mean over fits, the largest first."""
    trained = (data.metrics.get("baseline_training") or {}).get("lightgbm") or {}
    shares: Mapping[str, Mapping[str, float]] = trained.get("importances") or {}
    names = list(dict.fromkeys(name for by_name in shares.values() for name in by_name))
    names.sort(key=lambda name: -max(by_name.get(name, 0.0) for by_name in shares.values()))
    return [
        Row(name, name, [Cell(share((shares.get(str(h)) or {}).get(name))) for h in data.horizons])
        for name in names
    ]


def cost_levels(data: ReportData) -> list[Row]:
    """Net excess with its interval at low, base and high cost, one cell a horizon."""
    blocks = [data.horizon(h).get("cost_overlay") or {} for h in data.horizons]
    if not any(blocks):
        return []
    rows = []
    for level in ("low", "base", "high"):
        found = [block.get(level) or {} for block in blocks]
        cost = next((f["round_trip_bps"] for f in found if f), None)
        cells = [
            Cell(percent(f.get("net_excess_mean")), interval(f.get("ci95"), percent)) for f in found
        ]
        rows.append(Row(level, f"Net excess, {level} cost ({bps(cost)})", cells, level == "base"))
    return rows


def start_rows(data: ReportData) -> list[Row]:
    """Mean RankIC when judging begins later, one row a start."""
    found = data.metrics.get("starts") or []
    by_start: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in found:
        by_start.setdefault(str(row["start"]), {})[int(row["horizon"])] = row
    return [
        Spec("rank_ic_mean", f"from {start}", decimal, "ci95").row(
            (rows.get(h) or {} for h in data.horizons), reasons=False, key=start
        )
        for start, rows in sorted(by_start.items())
    ]


def trial_rows(data: ReportData) -> list[Row]:
    """The Sharpe ratio after the search for it; empty without a portfolio or a count of trials."""
    book = data.metrics.get("portfolio") or {}
    if not is_number(book.get("trials")):
        return []
    plural = "" if book["trials"] == 1 else "s"
    overfit = book.get("overfitting_probability")
    trials = f"at least {count(book['trials'])} trial{plural}"
    specs = (
        Spec("deflated_sharpe", f"Deflated Sharpe, {trials}", share),
        Spec("sharpe_expected_max", "Best Sharpe of as many worthless trials", number(2)),
        Spec("probabilistic_sharpe", "Probability that Sharpe > 0", share),
    )
    reason = "" if is_number(overfit) else "under ten trials"
    overfitting = Row(
        "overfitting_probability",
        "Probability of overfitting",
        [Cell(share(overfit), reason=reason)],
    )
    return [*(spec.row([book], reasons=False) for spec in specs), overfitting]

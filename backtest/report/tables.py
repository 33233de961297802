"""The report's tables and lists as text; the page and the Markdown file print the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from .data import ReportData
from .formatting import (
    NA,
    Formatter,
    bps,
    count,
    decimal,
    interval,
    is_number,
    number,
    percent,
    share,
)

__all__ = [
    "Cell",
    "Row",
    "Spec",
    "Weight",
    "Weights",
    "baselines",
    "drops",
    "flags",
    "flatten",
    "gate_numbers",
    "headline_table",
    "portfolio_table",
    "quarantine",
    "regimes",
    "unjudged",
    "weights_table",
]

Block = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One number: its text, its interval, and why it is missing if it is."""

    text: str
    interval: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Row:
    """One named row; `key` is the name of the number in ``metrics.json``."""

    key: str
    label: str
    cells: list[Cell]
    strong: bool = False


@dataclass(frozen=True)
class Spec:
    """A number of ``metrics.json``: its key, how it is named and written, where its interval is."""

    key: str
    label: str
    formatter: Formatter
    interval_key: str = ""
    strong: bool = False

    def row(self, blocks: Iterable[Block], *, reasons: bool = True, key: str = "") -> Row:
        """A cell for each block; `reasons` says why a number is missing, `key` names the row."""
        cells = [self._cell(block, reasons) for block in blocks]
        return Row(key or self.key, self.label, cells, self.strong)

    def _cell(self, block: Block, reasons: bool) -> Cell:
        value = block.get(self.key)
        if self.key.endswith("ci95"):
            text = interval(value, self.formatter)
        else:
            text = self.formatter(value) if is_number(value) else ""
        if text:
            return Cell(text, interval(block.get(self.interval_key), self.formatter))
        return Cell(NA, reason=_why_missing(self.key, block) if reasons else "")


_HEADLINE = (
    Spec("rank_ic_mean", "RankIC, mean", decimal, "ci95", strong=True),
    Spec("bootstrap_ci95", "RankIC, bootstrap interval", decimal),
    Spec("hac_t", "t, HAC", number(2)),
    Spec("icir", "ICIR", number(2)),
    Spec("rank_ic_headline", "RankIC, median of folds", decimal),
    Spec("positive_share", "Dates with RankIC > 0", share),
    Spec("rank_ic_next_open", "RankIC, next open", decimal, "rank_ic_next_open_ci95"),
    Spec("n_dates", "Judged dates", count),
    Spec("n_names_median", "Names, median", count),
    Spec("excess_mean", "Top-K excess", percent),
    Spec("net_excess_mean", "Net excess", percent, "net_excess_ci95", strong=True),
    Spec("cost_survival", "Cost survival", share),
    Spec("breakeven_bps", "Break-even cost", bps),
    Spec("churn_median", "Churn, median", share),
    Spec("redundancy", "Redundancy", decimal, "redundancy_ci95"),
)

_PORTFOLIO = (
    Spec("return_annual_net", "Return a year, net", percent),
    Spec("return_annual_gross", "Return a year, gross", percent),
    Spec("benchmark_return_annual", "Return a year, benchmark", percent),
    Spec("return_total_net", "Return in total, net", percent),
    Spec("sharpe_net", "Sharpe, net", number(2)),
    Spec("sharpe_gross", "Sharpe, gross", number(2)),
    Spec("benchmark_sharpe", "Sharpe, benchmark", number(2)),
    Spec("volatility_annual", "Volatility a year", percent),
    Spec("max_drawdown", "Largest drawdown", percent),
    Spec("turnover_annual", "Turnover a year", number(1)),
    Spec("cost_annual", "Trading cost a year", percent),
    Spec("borrow_annual", "Borrow cost a year", percent),
    Spec("gross_exposure_mean", "Gross exposure, mean", number(2)),
    Spec("net_exposure_mean", "Net exposure, mean", number(2)),
    Spec("n_trades", "Trades", count),
    Spec("n_sessions", "Sessions", count),
)


def headline_table(data: ReportData, *, in_training: bool = False) -> list[Row]:
    """One row a number, one cell a horizon (in the order of `data.horizons`).

    Where no horizon has a judged date, the number of dates is all there is to say.
    """
    blocks = [data.horizon(h, in_training=in_training) for h in data.horizons]
    if any(block.get("n_dates") for block in blocks):
        return [spec.row(blocks) for spec in _HEADLINE]
    dates = Spec("n_dates", "Judged dates", count)
    return [dates.row({"n_dates": block.get("n_dates") or 0} for block in blocks)]


def _why_missing(key: str, block: Block) -> str:
    judged = block.get("n_dates")
    if not judged:
        return "no judged date"
    if key in ("bootstrap_ci95", "hac_t", "icir") or judged < 3:
        return "too few dates"
    if key == "capacity_aum" and is_number(block.get("net_excess_mean")):
        return "no size brings it to 0"
    if key == "breakeven_bps" and block.get("turnover_mean"):
        return "no cost below the cap of 500 bps a trade brings it to 0"
    return {
        "breakeven_bps": "no turnover",
        "churn_median": "no previous rebalance",
        "redundancy": "no 12-month momentum",
        "rank_ic_next_open": "no next open",
    }.get(key, "")


def portfolio_table(portfolio: Mapping[str, Any] | None) -> list[Row]:
    """Rows of the simulated portfolio; empty without one."""
    if not portfolio:
        return []
    return [spec.row([{"n_dates": 3, **portfolio}]) for spec in _PORTFOLIO]


def regimes(data: ReportData) -> list[dict[str, str]]:
    """Regime slices as text, in the order of ``metrics.json``."""
    return [
        {
            "slice": f"{s.get('kind')}: {s.get('regime')}",
            "horizon": count(s.get("horizon")),
            "n_dates": count(s.get("n_dates")),
            "n_names": count(s.get("n_names_median")),
            "rank_ic": decimal(s.get("rank_ic_mean")),
            "interval": interval(s.get("ci95"), decimal) or NA,
            "note": "thin, not judged" if s.get("thin") else "",
        }
        for s in data.metrics.get("regimes") or []
    ]


def baselines(data: ReportData) -> list[Row]:
    """The score's mean RankIC and below it each baseline's, one cell a horizon."""
    rivals: Mapping[str, Any] = data.metrics.get("baselines") or {}
    if not rivals:
        return []
    own = Spec("rank_ic_mean", "This score", decimal, "ci95", strong=True)
    rows = [own.row(map(data.horizon, data.horizons), key="score")]
    for name, found in rivals.items():
        blocks = [(found or {}).get(str(h)) or {} for h in data.horizons]
        rows.append(Spec("rank_ic_mean", name, decimal, "ci95").row(blocks, key=name))
    return rows


def unjudged(data: ReportData) -> list[Row]:
    """Scored dates that were not judged, by reason, one cell a horizon."""
    specs = (
        Spec("n_dates_immature", "Label not mature at the last bar", count),
        Spec("n_dates_thin", "Too few names", count),
        Spec("n_dates_constant", "Scores all equal", count),
    )
    return [spec.row(map(data.horizon, data.horizons), reasons=False) for spec in specs]


def drops(data: ReportData) -> list[tuple[str, str]]:
    """Every drop count by reason, largest first."""
    counted: dict[str, Any] = {
        **(data.manifest.get("drops") or {}),
        **(data.metrics.get("drops") or {}),
    }
    ordered = sorted(counted.items(), key=lambda item: (-(item[1] or 0), item[0]))
    return [(str(reason), count(n)) for reason, n in ordered]


def flags(data: ReportData) -> list[tuple[str, str]]:
    """What was kept but is worth knowing, with its count, largest first."""
    counted = data.metrics.get("flags") or {}
    ordered = sorted(counted.items(), key=lambda item: (-(item[1] or 0), item[0]))
    return [(str(what), count(n)) for what, n in ordered]


def quarantine(data: ReportData, *, limit: int = 30) -> list[list[str]]:
    """The first bars that were removed: ticker, date, rule, message, source."""
    columns = ["ticker", "date", "rule", "message", "source"]
    rows = data.quarantine.select(columns).head(limit).rows()
    return [["" if value is None else str(value) for value in row] for row in rows]


def gate_numbers(data: ReportData) -> list[tuple[str, list[tuple[str, str]]]]:
    """Every number recorded by a gate."""
    return [
        (str(gate.get("name")), list(flatten(gate["numbers"])))
        for gate in data.gates.get("gates") or []
        if gate.get("numbers")
    ]


@dataclass(frozen=True)
class Weight:
    """One target weight; `bar` is its size as a share of the largest, 0 to 1."""

    ticker: str
    weight: str
    bar: float
    short: bool


@dataclass(frozen=True)
class Weights:
    """Target weights of the last rebalance, the largest of each side."""

    asof: str
    rows: list[Weight]
    n_long: int
    n_short: int
    long: str
    short: str
    hidden: int


def weights_table(data: ReportData, *, per_side: int = 20) -> Weights | None:
    """The last rebalance's weights, at most `per_side` longs and shorts; None when all are zero."""
    held = pl.col("weight").fill_null(0.0) != 0
    frame = data.weights.filter(pl.col("asof") == pl.col("asof").max(), held)
    frame = frame.sort(["weight", "ticker"], descending=[True, False])
    if frame.is_empty():
        return None
    pairs = list(zip(frame["ticker"].to_list(), frame["weight"].to_list(), strict=True))
    longs, shorts = [p for p in pairs if p[1] > 0], [p for p in pairs if p[1] < 0]
    shown = longs[:per_side] + shorts[-per_side:]
    largest = max(abs(w) for _, w in shown)
    return Weights(
        asof=str(frame["asof"][0]),
        rows=[Weight(str(t), percent(w), abs(w) / largest, w < 0) for t, w in shown],
        n_long=len(longs),
        n_short=len(shorts),
        long=percent(sum(w for _, w in longs)),
        short=percent(sum(w for _, w in shorts)),
        hidden=len(pairs) - len(shown),
    )


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and their values as text, as the command line writes them."""
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    elif _is_list(tree) and any(isinstance(item, Mapping) for item in tree):
        for position, item in enumerate(tree):
            yield from flatten(item, f"{prefix}[{position}]")
    else:
        yield prefix, _plain(tree)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _plain(value: Any, *, limit: int = 20) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if _is_list(value):
        more = f", and {len(value) - limit} more" if len(value) > limit else ""
        return "[" + ", ".join(_plain(item) for item in value[:limit]) + more + "]"
    return str(value)

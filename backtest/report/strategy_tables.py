"""Tables of the strategies: where the result came from, what was chosen, what entry levels earned.

Each is a title, a note, headings and rows of text; the page and the Markdown file print the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .data import ReportData
from .formatting import NA, Formatter, bps, count, decimal, number, percent, share

__all__ = ["Table", "attribution_tables", "entry_tables", "selection_tables"]

_ENTRY_NOTE = (
    "One session a trade, at the levels of the forecast. A level is filled only if the bar trades "
    "through it; with entry and exit inside one bar the worse order is assumed."
)
_HINDSIGHT_NOTE = (
    "In sample the offsets were fitted on the very trades that are counted. Only the "
    "out-of-sample line could have been earned."
)

_ENTRY: tuple[tuple[str, str, Formatter], ...] = (
    ("Orders", "n_orders", count),
    ("Filled", "n_filled", count),
    ("Net a fill", "fill_net_bps", bps),
    ("Net a year", "return_annual_net", percent),
    ("Sharpe, net", "sharpe_net", number(2)),
    ("Deflated", "deflated_sharpe", decimal),
    ("Drawdown", "max_drawdown", percent),
)


@dataclass(frozen=True)
class Table:
    """A small table; the first column names its row."""

    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def attribution_tables(data: ReportData) -> list[Table]:
    """Legs, costs, regimes, names and holding periods; empty where nothing was traded."""
    found: Mapping[str, Any] = data.metrics.get("attribution") or {}
    if not found:
        return []
    regimes = [
        [
            f"{row['kind']}: {row['regime']}",
            *map(percent, (row["profit"], row["cost"])),
            count(row["n_sessions"]),
        ]
        for row in found["regimes"]
    ]
    names = [*found["names"]["best"], *reversed(found["names"]["worst"])]
    tables = [
        Table(
            "By leg",
            "Shares of the starting capital: profits less all costs are the net result.",
            ["Leg", "Profit", "Fees", "Borrow"],
            [
                [r["leg"], *map(percent, (r["profit"], r["cost"], r["borrow"]))]
                for r in found["legs"]
            ],
        ),
        Table(
            "By kind of cost",
            "",
            ["Cost", "Share of capital"],
            [[row["kind"], percent(row["cost"])] for row in found["costs"]],
        ),
        Table(
            "By regime",
            "Of the session before, which is what was known.",
            ["Regime", "Profit", "Costs", "Sessions"],
            regimes,
        ),
        Table(
            "By name",
            "Most earned and most lost, after fees.",
            ["Ticker", "Net of fees", "Fees", "Sessions held"],
            [
                [r["ticker"], percent(r["net"]), percent(r["cost"]), count(r["sessions"])]
                for r in names
            ],
        ),
        Table("How it was held", "", ["", "Value"], _holding(found)),
    ]
    return [table for table in tables if table.rows]


def _holding(found: Mapping[str, Any]) -> list[list[str]]:
    held, exposure, beta = found["holding"], found["exposure"], found["beta"]
    span = f"{number(2)(beta['min'])} to {number(2)(beta['max'])}"
    mean = f"{number(2)(beta['mean'])} ({span})" if beta["mean"] is not None else NA
    return [
        ["Positions", count(held["n_positions"])],
        ["Holding period, median sessions", count(held["sessions_median"])],
        ["Long exposure, mean", share(exposure["long_mean"])],
        ["Short exposure, mean", share(exposure["short_mean"])],
        ["Net exposure", f"{share(exposure['net_min'])} to {share(exposure['net_max'])}"],
        [f"Beta over {beta['sessions']} sessions, mean", mean],
    ]


def selection_tables(data: ReportData) -> list[Table]:
    """The parameters chosen for each fold; empty without a grid."""
    found: Mapping[str, Any] = data.metrics.get("selection") or {}
    if not found:
        return []
    choices = [
        [
            str(row["fold"]),
            row["chosen"] if row["sharpe"] is not None else f"{row['chosen']} (unjudged)",
            number(2)(row["sharpe"]),
            count(row["n_sessions"]),
        ]
        for row in found["choices"]
    ]
    net = (data.metrics.get("portfolio") or {}).get("sharpe_net")
    best = found["in_sample_best"]
    return [
        Table(
            f"Parameters chosen for each fold, of {count(found['n_points'])} grid points",
            "The best Sharpe of the past, less the embargo; a fold with too short a past takes the "
            "first grid point.",
            ["Fold", "Chosen", "Past Sharpe", "Sessions"],
            choices,
        ),
        Table(
            "What choosing in hindsight would have shown",
            "Probability that the best of the grid is overfitted (PBO): "
            f"{share(found['overfitting_probability'])}.",
            ["", "Sharpe, net", ""],
            [
                ["Chosen ahead, fold by fold", number(2)(net), "the portfolio of this run"],
                ["Best in hindsight", number(2)(best["sharpe_net"]), best["chosen"] or NA],
            ],
        ),
    ]


def entry_tables(data: ReportData) -> list[Table]:
    """Entry strategies out of sample, and MaxDiff's hindsight beside it; empty without any."""
    found: Mapping[str, Any] = data.metrics.get("entry") or {}
    if not found:
        return []
    header = ["Strategy", *(title for title, _, _ in _ENTRY)]
    rows = [
        [name, *(form(figures["out_of_sample"].get(key)) for _, key, form in _ENTRY)]
        for name, figures in found.items()
    ]
    tables = [Table("Out of sample", _ENTRY_NOTE, header, rows)]
    for name, figures in found.items():
        if "in_sample" not in figures:
            continue
        compared = [
            [label, percent(of["return_annual_net"]), number(2)(of["sharpe_net"])]
            for label, of in (
                ("Out of sample", figures["out_of_sample"]),
                ("In sample", figures["in_sample"]),
            )
        ]
        title = f"{name}: fitted ahead and in hindsight"
        tables.append(Table(title, _HINDSIGHT_NOTE, ["", "Net a year", "Sharpe, net"], compared))
        offsets = [
            [
                str(row["fold"]),
                *map(percent, (row["entry_offset"], row["target_offset"])),
                count(row["n_orders"]),
            ]
            for row in figures["offsets"]
        ]
        if offsets:
            header = ["Fold", "Entry offset", "Target offset", "Orders"]
            tables.append(Table(f"{name}: offsets of each fold", "", header, offsets))
    return tables

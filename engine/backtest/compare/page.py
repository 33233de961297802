"""What a comparison shows: tables for terminal and page, the page, and its chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from backtest.report.drawing import Sheet
from backtest.report.formatting import bps, count, decimal, interval, number, percent, share
from backtest.report.page import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    VERMILLION,
    page_style,
    page_templates,
)
from engine.backtest.compare.runs import FinishedRun

__all__ = ["TITLE", "Comparison", "comparison_tables", "draw_runs", "print_table", "render_page"]

TITLE = "Net return and RankIC of each run"
TEMPLATES = Path(__file__).parent / "templates"
COLORS = (BLUE, VERMILLION, GREEN, PINK, ORANGE, GREY)
DASHES = ("solid", "dash", "dot")
_FIGURES = (
    ("RankIC", "rank_ic_mean", decimal, "ci95"),
    ("net excess", "net_excess_mean", percent, "net_excess_ci95"),
    ("churn", "churn_median", share, ""),
    ("break-even cost", "breakeven_bps", bps, ""),
)
_PORTFOLIO = (
    ("return a year, net", "return_annual_net", percent),
    ("Sharpe, net", "sharpe_net", number(2)),
    ("deflated Sharpe", "deflated_sharpe", number(2)),
    ("largest drawdown", "max_drawdown", percent),
    ("turnover a year", "turnover_annual", number(1)),
)


@dataclass(frozen=True)
class Comparison:
    """A table: what stands above its columns, and its rows."""

    title: str
    headings: list[str]
    rows: list[tuple[str, list[str]]]


def comparison_tables(
    runs: Sequence[FinishedRun], differences: Sequence[Mapping[str, Any]]
) -> list[Comparison]:
    """Every run's verdicts and figures, and the paired differences."""
    rows = [("model", [str(run.metrics["run"]["model"]) for run in runs])]
    for place, gate in enumerate(("factor", "ml", "practical")):
        rows.append((f"gate: {gate}", [run.gates["gates"][place]["verdict"] for run in runs]))
    for horizon in sorted({int(h) for run in runs for h in run.metrics["horizons"]}):
        blocks = [run.metrics["horizons"].get(str(horizon)) or {} for run in runs]
        for label, key, form, bounds in _FIGURES:
            cells = [f"{form(b.get(key))} {interval(b.get(bounds), form)}".strip() for b in blocks]
            rows.append((f"{label}, {horizon} sessions", cells))
        rows.append((f"dates, {horizon} sessions", [count(b.get("n_dates")) for b in blocks]))
    books: list[Mapping[str, Any]] = [run.metrics.get("portfolio") or {} for run in runs]
    rows += [(label, [form(book.get(key)) for book in books]) for label, key, form in _PORTFOLIO]
    pairs = [
        (
            f"{row['run']} − {row['against']}, {row['horizon']} sessions",
            [
                decimal(row["difference"]),
                interval(row["bootstrap_ci95"], decimal),
                interval(row["ci95"], decimal),
                count(row["n_dates"]),
                "yes" if row["distinct"] else "no",
            ],
        )
        for row in differences
    ]
    return [
        Comparison("Verdicts and figures", [run.name for run in runs], rows),
        Comparison(
            "Paired RankIC",
            ["difference", "bootstrap 95 %", "HAC 95 %", "dates", "told apart"],
            pairs,
        ),
    ]


def print_table(console: Console, content: Comparison) -> None:
    """On the terminal."""
    table = Table(title=content.title, title_justify="left")
    table.add_column("")
    for heading in content.headings:
        table.add_column(heading.replace("[", r"\["), justify="right")
    for label, cells in content.rows:
        table.add_row(label, *(cell.replace("[", r"\[") for cell in cells))
    console.print(table)


def draw_runs(runs: Sequence[FinishedRun]) -> Sheet:
    """Net equity curves over each other, and the running mean of the longest horizon's RankIC."""
    sheet = Sheet()
    above = sheet.panel(230, "Cumulative net return", unit="%")
    below = sheet.panel(160, "Mean RankIC so far, longest horizon")
    for place, run in enumerate(runs):
        color, dash = COLORS[place % len(COLORS)], DASHES[place % len(DASHES)]
        wealth = (1 + run.returns["net"]).cum_prod() - 1
        above.line(run.returns["date"], wealth, color, run.name, dash=dash)
        longest = run.ic.filter(pl.col("horizon") == pl.col("horizon").max()).sort("asof")
        mean = longest["rank_ic"].cum_sum() / pl.int_range(1, longest.height + 1, eager=True)
        below.line(longest["asof"], mean, color, dash=dash)
    return sheet


def render_page(
    runs: Sequence[FinishedRun],
    tables: Sequence[Comparison],
    chart: Sheet,
    differences: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
) -> str:
    """One file that loads nothing."""
    from markupsafe import Markup

    return (
        page_templates(TEMPLATES)
        .get_template("comparison.html.j2")
        .render(
            names=[run.name for run in runs],
            headline=_headline(differences),
            notes=notes,
            tables=tables,
            chart=Markup(chart.svg("runs", TITLE)),
            style=Markup(page_style()),
        )
    )


def _headline(differences: Sequence[Mapping[str, Any]]) -> str:
    told = [row for row in differences if row["distinct"]]
    if not told:
        return "No run's RankIC can be told apart from the first one's."
    row = max(told, key=lambda item: abs(item["difference"]))
    word = "above" if row["difference"] > 0 else "below"
    return (
        f"{row['run']} ranks {word} {row['against']} at {row['horizon']} sessions: "
        f"{decimal(row['difference'])} {interval(row['bootstrap_ci95'], decimal)}."
    )

"""The tables of a comparison: a row a figure, a column a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from backtest.report.formatting import bps, count, decimal, interval, number, percent, share
from engine.backtest.compare.runs import FinishedRun

__all__ = ["Rows", "comparison_tables", "headings", "print_table"]

Rows = list[tuple[str, list[str]]]


def comparison_tables(
    runs: Sequence[FinishedRun], differences: Sequence[Mapping[str, Any]]
) -> dict[str, Rows]:
    """Title → rows: every run's verdicts and figures, and the paired differences."""
    return {"Verdicts and figures": _figures(runs), "Paired RankIC": _paired_rows(differences)}


def headings(title: str, runs: Sequence[FinishedRun]) -> list[str]:
    """What stands above the columns of a table."""
    if title.startswith("Paired"):
        return ["difference", "bootstrap 95 %", "HAC 95 %", "dates", "told apart"]
    return [run.name for run in runs]


def print_table(console: Console, title: str, headings: Sequence[str], rows: Rows) -> None:
    """On the terminal."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in headings:
        table.add_column(heading.replace("[", r"\["), justify="right")
    for label, cells in rows:
        table.add_row(label, *(cell.replace("[", r"\[") for cell in cells))
    console.print(table)


def _figures(runs: Sequence[FinishedRun]) -> Rows:
    rows: Rows = [("model", [str(run.metrics["run"]["model"]) for run in runs])]
    for place, gate in enumerate(("factor", "ml", "practical")):
        rows.append((f"gate: {gate}", [run.gates["gates"][place]["verdict"] for run in runs]))
    horizons = sorted({int(h) for run in runs for h in run.metrics["horizons"]})
    for horizon in horizons:
        blocks = [run.metrics["horizons"].get(str(horizon)) or {} for run in runs]
        for label, key, form, bounds in (
            ("RankIC", "rank_ic_mean", decimal, "ci95"),
            ("net excess", "net_excess_mean", percent, "net_excess_ci95"),
            ("churn", "churn_median", share, ""),
            ("break-even cost", "breakeven_bps", bps, ""),
        ):
            cells = [f"{form(b.get(key))} {interval(b.get(bounds), form)}".strip() for b in blocks]
            rows.append((f"{label}, {horizon} sessions", cells))
        rows.append((f"dates, {horizon} sessions", [count(b.get("n_dates")) for b in blocks]))
    books: list[Mapping[str, Any]] = [run.metrics.get("portfolio") or {} for run in runs]
    for label, key, form in (
        ("return a year, net", "return_annual_net", percent),
        ("Sharpe, net", "sharpe_net", number(2)),
        ("deflated Sharpe", "deflated_sharpe", number(2)),
        ("largest drawdown", "max_drawdown", percent),
        ("turnover a year", "turnover_annual", number(1)),
    ):
        rows.append((label, [form(book.get(key)) for book in books]))
    return rows


def _paired_rows(differences: Sequence[Mapping[str, Any]]) -> Rows:
    return [
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

"""The audit on a terminal, and as one self-contained page: nothing is loaded from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from backtest.report.page import page_templates
from engine.data.check.audit import Audit
from engine.data.check.findings import RULES

__all__ = ["headline", "print_audit", "render_html"]

EXAMPLES = 3
TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 200
"""Findings listed a rule; all of them are in the JSON."""


def headline(audit: Audit) -> str:
    """The outcome in one sentence."""
    errors, warnings = audit.severity_count("error"), audit.severity_count("warning")
    if not audit.findings.height:
        return "Nothing found"
    return f"{_plural(errors, 'error')}, {_plural(warnings, 'warning')}"


def print_audit(console: Console, audit: Audit) -> None:
    """What was looked at, the count of each rule, and its first findings."""
    span = f", {audit.start} to {audit.end}" if audit.start else ""
    console.print(
        f"{audit.rows:,} bars of {_plural(audit.tickers, 'ticker')}{span}, "
        f"calendar {audit.calendar}",
        highlight=False,
    )
    console.print(Text(headline(audit), style="bold"))
    if audit.findings.is_empty():
        return
    table = Table("rule", "severity", "findings", "tickers", "first findings", box=None)
    table.columns[2].justify = table.columns[3].justify = "right"
    for rule, count in audit.counts().items():
        rows = audit.findings.filter(pl.col("rule") == rule)
        severity = RULES[rule].severity
        table.add_row(
            rule,
            Text(severity, style="bold red" if severity == "error" else "yellow"),
            f"{count:,}",
            f"{rows['ticker'].drop_nulls().n_unique():,}",
            Text(_examples(rows), overflow="fold"),
        )
    console.print(table)
    console.print(
        "An error is a row that an import quarantines; a warning is counted, and its rows stay.",
        highlight=False,
        style="dim",
    )


def _examples(rows: pl.DataFrame) -> str:
    lines = []
    for ticker, day, message in rows.select("ticker", "date", "message").head(EXAMPLES).rows():
        where = " ".join(str(part) for part in (ticker, day) if part is not None)
        lines.append(f"{where}: {message}" if where else message)
    if rows.height > EXAMPLES:
        lines.append(f"… and {rows.height - EXAMPLES:,} more")
    return "\n".join(lines)


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def render_html(audit: Audit) -> str:
    """The page as text; everything that comes from data is escaped."""
    environment = page_templates(TEMPLATES)
    counts = audit.counts()
    years, grid = _by_year(audit.findings)
    return environment.get_template("check.html.j2").render(
        audit=audit,
        headline=headline(audit),
        cards=[
            ("errors", audit.severity_count("error"), "rows an import quarantines"),
            ("warnings", audit.severity_count("warning"), "rows stay; look at them"),
            ("bars", audit.rows, _span(audit)),
            ("tickers", audit.tickers, f"calendar {audit.calendar}"),
        ],
        rules=[_rule(audit, name, count) for name, count in counts.items()],
        silent=[(name, rule.meaning) for name, rule in RULES.items() if name not in counts],
        years=years,
        grid=grid,
        shown=SHOWN,
    )


def _rule(audit: Audit, name: str, count: int) -> dict[str, Any]:
    rows = audit.findings.filter(pl.col("rule") == name)
    tickers = rows["ticker"].drop_nulls().value_counts(sort=True)
    return {
        "name": name,
        "severity": RULES[name].severity,
        "meaning": RULES[name].meaning,
        "count": count,
        "tickers": tickers.height,
        "most": ", ".join(f"{who} {n}" for who, n in tickers.head(5).iter_rows()),
        "rows": rows.select("ticker", "date", "message").head(SHOWN).rows(),
    }


def _by_year(findings: pl.DataFrame) -> tuple[list[int], list[dict[str, Any]]]:
    """Years, and for each rule its findings a year with a shade from 0 to 1."""
    dated = findings.drop_nulls("date").with_columns(year=pl.col("date").dt.year())
    if dated.is_empty():
        return [], []
    first, last = dated["year"].min(), dated["year"].max()
    years = list(range(first, last + 1))  # type: ignore[operator, arg-type]
    counted = {(r, y): n for r, y, n in dated.group_by("rule", "year").len().iter_rows()}
    most = max(counted.values())
    grid = []
    for rule in dated["rule"].unique(maintain_order=True):
        numbers = [counted.get((rule, year), 0) for year in years]
        cells = [(n, round(0.15 + 0.85 * n / most, 2) if n else 0) for n in numbers]
        grid.append({"rule": rule, "severity": RULES[rule].severity, "cells": cells})
    return years, grid


def _span(audit: Audit) -> str:
    return f"{audit.start} to {audit.end}" if audit.start else "no usable bar"

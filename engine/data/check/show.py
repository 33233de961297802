"""The audit on a terminal: one line a rule, then examples of each."""

from __future__ import annotations

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.data.check.audit import Audit
from engine.data.check.findings import RULES

__all__ = ["headline", "print_audit"]

EXAMPLES = 3


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

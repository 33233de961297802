"""`python -m engine.audit lookahead|recursive`: proves or refutes that a run looks ahead."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from engine.command import make_console, run_command
from engine.config import Settings, load_settings, read_flags
from engine.errors import UsageError
from engine.forecasters.named import named_model

__all__ = ["main"]

SHUFFLED_DATES = 60
OPTIONS = {"config": True, "dates": True, "json": True, "help": False}
USAGE = """\
usage: python -m engine.audit lookahead|recursive [--config FILE] [--section.key VALUE …]
                              [--dates N] [--json FILE]

lookahead  cuts the data off at sampled dates, replaces what follows by noise, and multiplies one
           ticker's prices by a constant: no feature, score, weight or prediction of the LightGBM
           baseline may move. Shuffled scores must lose their RankIC.
recursive  begins the history later and later: shows which features drift.

Every table is that of the configured run. Exit code 0: nothing found, 1: findings, 2: bad usage.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 clean, 1 findings (or a failure), 2 usage."""
    return run_command(lambda: _run(sys.argv[1:] if argv is None else list(argv)))


def _run(argv: list[str]) -> int:
    console = make_console()
    if not argv or argv[0] in ("-h", "--help"):
        console.print(USAGE, highlight=False, markup=False)
        return 0 if argv else 2
    audit, *rest = argv
    if audit not in ("lookahead", "recursive"):
        raise UsageError(f"engine.audit: {audit!r} is no audit; there are lookahead and recursive")
    flags, options = read_flags(rest, OPTIONS)
    if "help" in options:
        console.print(USAGE, highlight=False, markup=False)
        return 0
    settings = load_settings(flags, config=options.get("config"))
    dates = _dates(options.get("dates"), settings)
    run = _lookahead if audit == "lookahead" else _recursive
    content = run(settings, dates, console)
    if options.get("json"):
        from engine.files import write_json

        write_json(Path(options["json"]), {"version": 1, "audit": audit, **content})
    return 1 if content["findings"] else 0


def _dates(text: str | None, settings: Settings) -> int:
    if text is None:
        return 4 if named_model(settings.model.name).is_light else 2
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"--dates: {text!r} must be a whole number above 0")
    return int(text)


def _lookahead(settings: Settings, dates: int, console: Console) -> dict[str, Any]:
    from engine.audit.lookahead import audit_lookahead
    from engine.progress import WorkProgress

    with WorkProgress(console, "audit", 2 * dates + 5, "runs") as progress:
        found = audit_lookahead(
            settings,
            dates=dates,
            shuffled_dates=SHUFFLED_DATES if named_model(settings.model.name).is_light else 0,
            seed=settings.run.seed,
            progress=progress,
        )
    console.print(
        f"looked at {', '.join(map(str, found.asofs))}: {found.cells:,} cells, "
        "each on cut, noised and rescaled data",
        highlight=False,
    )
    for item in found.permutation:
        console.print(
            f"horizon {item.horizon}: RankIC {item.rank_ic:+.3f} on these {item.n_dates} dates "
            f"(permutation p = {item.p_value:.3f}); shuffled {item.shuffled_mean:+.4f} "
            f"± {item.shuffled_error:.4f}",
            highlight=False,
        )
    _print_findings(console, found.findings, "nothing looks ahead, no price level is read")
    return {
        "asofs": [day.isoformat() for day in found.asofs],
        "findings": [item.to_json() for item in found.findings],
        "permutation": [vars(item) for item in found.permutation],
    }


def _recursive(settings: Settings, dates: int, console: Console) -> dict[str, Any]:
    from engine.audit.recursive import HISTORIES, audit_recursive
    from engine.progress import WorkProgress

    with WorkProgress(console, "audit", len(HISTORIES), "histories") as progress:
        found = audit_recursive(settings, dates=min(dates, 2), progress=progress)
    table = Table(title="Relative drift by sessions of history", title_justify="left")
    table.add_column("feature")
    histories = sorted(found.drift["history"].unique())
    for history in histories:
        table.add_column(str(history), justify="right")
    for (name,), part in found.drift.group_by("column", maintain_order=True):
        by_history = dict(part.select("history", "drift").iter_rows())
        cells = [by_history.get(history) for history in histories]
        table.add_row(str(name), *("warm-up" if c is None else f"{c:.1e}" for c in cells))
    console.print(table)
    _print_findings(console, found.findings, "no feature depends on where the history begins")
    return {
        "asofs": [day.isoformat() for day in found.asofs],
        "findings": [item.to_json() for item in found.findings],
        "drift": found.drift.filter(pl.col("history").is_not_null()).to_dicts(),
    }


def _print_findings(console: Console, findings: Sequence[Any], clean: str) -> None:
    if not findings:
        console.print(f"[bold green]no finding[/]: {clean}")
        return
    title = f"{len(findings)} findings"
    table = Table(title=title, title_justify="left", title_style="bold red")
    headings = ("check", "table", "column", "date", "ticker", "whole data", "changed", "cells")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for item in findings:
        table.add_row(
            item.check,
            item.table,
            item.column.replace("[", r"\["),
            str(item.date or ""),
            item.ticker or "",
            item.expected,
            item.found,
            f"{item.cells:,}",
        )
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m engine.data check`: audit files, or what the settings name."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from engine.calendar import TradingCalendar
from engine.command import make_console
from engine.config import Settings, load_settings, read_flags
from engine.data.check.audit import audit
from engine.data.check.findings import to_json
from engine.data.check.html import render_html
from engine.data.check.limits import load_limits, load_symbol_changes
from engine.data.check.read import STATED, read_files, read_source, read_stated
from engine.data.check.show import print_audit
from engine.files import write_json, write_text

__all__ = ["run_check"]

OPTIONS = {
    "config": True,
    "json": True,
    "html": True,
    "calendar": True,
    "rules": True,
    "symbol-changes": True,
    "help": False,
}
USAGE = """\
usage: python -m engine.data check [FILE …] [--data.store FILE] [--calendar NAME]
                                   [--json OUT] [--html OUT] [--rules FILE] [--symbol-changes FILE]

Audits bars: Parquet or CSV files or folders, or without one the store or source that the settings
name. Exit code 0, whatever is found; --json has every finding. --calendar is an exchange_calendars
name (XNYS; 24/7 for crypto). --rules (configs/check.yaml) holds the thresholds, --symbol-changes
(configs/symbol_changes.yaml) the symbols that belonged to another security before.
"""


def run_check(arguments: list[str]) -> int:
    """Audit what the arguments name; 0 whatever is found.

    Raises UsageError where a file cannot be read or an argument is unknown.
    """
    paths, rest = _split(arguments)
    flags, options = read_flags(rest, OPTIONS)
    console = make_console()
    if "help" in options:
        console.print(USAGE, highlight=False, markup=False)
        return 0
    settings = load_settings(flags, config=options.get("config"))
    calendar = TradingCalendar(options.get("calendar") or settings.data.calendar)
    rows, earlier, stated, sources = _rows(paths, settings, calendar)
    found = audit(
        rows,
        calendar,
        limits=load_limits(options.get("rules", "check.yaml")),
        changes=load_symbol_changes(options.get("symbol-changes", "symbol_changes.yaml")),
        stated=stated,
        quarantined_before=earlier,
        sources=sources,
    )
    print_audit(console, found)
    for key, write in (
        ("json", lambda path: write_json(path, to_json(found.findings))),
        ("html", lambda path: write_text(path, render_html(found))),
    ):
        if key in options:
            write(Path(options[key]))
            console.print(f"written: {options[key]}", highlight=False, markup=False)
    return 0


def _rows(
    paths: list[Path], settings: Settings, calendar: TradingCalendar
) -> tuple[pl.DataFrame, pl.DataFrame | None, pl.DataFrame, list[str]]:
    """Rows, what an earlier import quarantined, what the files state, and what they are called."""
    if paths:
        rows = read_files(paths, calendar)
        return rows, None, read_stated(paths), [str(path) for path in paths]
    rows, earlier, name = read_source(settings.data, calendar)
    return rows, earlier, pl.DataFrame(schema=STATED), [name]


def _split(arguments: list[str]) -> tuple[list[Path], list[str]]:
    """The files among the arguments, and the flags with their values."""
    paths, flags = [], []
    tokens = iter(arguments)
    for token in tokens:
        if not token.startswith("--"):
            paths.append(Path(token))
            continue
        flags.append(token)
        if "=" not in token and OPTIONS.get(token[2:]) is not False:
            flags += [value for value in [next(tokens, None)] if value is not None]
    return paths, flags

"""`python -m engine.data check`: audit files, or the price store."""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl

from engine.calendar import TradingCalendar
from engine.command import make_console
from engine.config import load_settings
from engine.data.check.audit import audit
from engine.data.check.findings import to_json
from engine.data.check.html import render_html
from engine.data.check.limits import load_limits, load_symbol_changes
from engine.data.check.read import STATED, read_files, read_stated, read_store
from engine.data.check.show import print_audit
from engine.errors import UsageError
from engine.files import write_json, write_text

__all__ = ["run_check"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(f"check: {message}")


def run_check(arguments: list[str]) -> int:
    """Audit what the arguments name; 0 whatever is found.

    Raises UsageError where a file cannot be read or an argument is unknown.
    """
    options = _parser().parse_args(arguments)
    settings = load_settings(_flags(options), config=options.config)
    data = settings.data
    calendar = TradingCalendar(options.calendar or data.calendar)
    if options.files:
        rows, stated = read_files(options.files, calendar), read_stated(options.files)
        sources = [str(path) for path in options.files]
    else:
        rows, sources = _of_the_settings(data, calendar)
        stated = pl.DataFrame(schema=STATED)
    found = audit(
        rows,
        calendar,
        limits=load_limits(options.rules),
        changes=load_symbol_changes(options.symbol_changes),
        stated=stated,
        sources=sources,
    )
    print_audit(make_console(), found)
    if options.json:
        write_json(options.json, to_json(found.findings))
    if options.html:
        write_text(options.html, render_html(found))
    return 0

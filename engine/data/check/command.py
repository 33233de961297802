"""`python -m engine.data check`: audit files, or what the settings name."""

from __future__ import annotations

from pathlib import Path

from engine.command import make_console
from engine.data.arguments import parse_arguments
from engine.data.check.audit import audit
from engine.data.check.findings import to_json
from engine.data.check.html import render_html
from engine.data.check.limits import load_limits, load_symbol_changes
from engine.data.check.read import read_files, read_source
from engine.data.check.show import print_audit
from engine.files import write_json, write_text

__all__ = ["run_check"]

OPTIONS = {"json": True, "html": True, "calendar": True, "rules": True, "symbol-changes": True}
USAGE = """\
usage: python -m engine.data check [FILE …] [--data.store FILE] [--calendar NAME]
                                   [--json OUT] [--html OUT] [--rules FILE] [--symbol-changes FILE]

Audits bars: Parquet or CSV files or folders; without one the price store (--data.store, or
prices.duckdb), or where there is none the source that the settings name (--data.source). The exit
code is 0, whatever is found; --json has every finding. --calendar is an exchange_calendars
name (XNYS; 24/7 for crypto). --rules (configs/check.yaml) holds the thresholds, --symbol-changes
(configs/symbol_changes.yaml) the symbols that belonged to another security before.
"""


def run_check(arguments: list[str]) -> int:
    """Audit what the arguments name; 0 whatever is found.

    Raises UsageError where a file cannot be read or an argument is unknown.
    """
    given = parse_arguments(arguments, OPTIONS)
    options = {key: str(value) for key, value in given.options.items()}
    console = make_console()
    if "help" in options:
        console.print(USAGE, highlight=False, markup=False)
        return 0
    read = read_files if given.files else read_source
    rows = read(given, options.get("calendar"))
    found = audit(
        rows.bars,
        rows.calendar,
        limits=load_limits(options.get("rules", "check.yaml")),
        changes=load_symbol_changes(options.get("symbol-changes", "symbol_changes.yaml")),
        stated=rows.stated,
        quarantined_before=rows.quarantine,
        sources=rows.names,
    )
    print_audit(console, found)
    if "json" in options:
        write_json(Path(options["json"]), to_json(found.findings))
    if "html" in options:
        write_text(Path(options["html"]), render_html(found))
    for key in ("json", "html"):
        if key in options:
            console.print(f"written: {options[key]}", highlight=False, markup=False)
    return 0

"""`python -m engine.data info`: what is in a store, in one screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from engine.command import make_console
from engine.data.arguments import parse_arguments
from engine.errors import UsageError

__all__ = ["describe_store", "run_info"]

SHOWN_IMPORTS = 8
WIDTH = 26
OPTIONS = {"json": True}
USAGE = """\
usage: python -m engine.data info [--data.store FILE] [--json OUT]

Shows what the store holds: bars, indices, corporate actions, universe, rows left out, imports.
Reads the exports alone, so it may run while another process imports."""


def run_info(arguments: list[str]) -> int:
    """Run the command on its arguments; returns the exit code 0, raises UsageError."""
    given = parse_arguments(arguments, OPTIONS)
    console = make_console()
    if "help" in given.options:
        console.print(USAGE, highlight=False, markup=False)
        return 0
    if given.files:
        raise UsageError(f"unexpected argument '{given.files[0]}': name a store as --data.store")
    content = describe_store(given.store)
    for block in BLOCKS:
        block(console, content)
    if "json" in given.options:
        from engine.files import write_json

        write_json(Path(str(given.options["json"])), content)
    return 0


def describe_store(path: Path) -> dict[str, Any]:
    """Everything the command shows, in the types of JSON."""
    from engine.data.store import PriceStore

    store = PriceStore.open(path)
    bars = [_describe_bars(PriceStore.open(path, bar=bar)) for bar in store.bar_sizes]
    actions, members, lost = store.actions(), store.members(), store.quarantine()
    kinds = dict(sorted(actions["kind"].value_counts().iter_rows()))
    return {
        "version": 1,
        "store": str(path),
        "calendar": store.calendar.name,
        "bars": bars,
        "series": [
            {"name": name, "rows": rows.height, "first": _text(rows["date"].min()),
             "last": _text(rows["date"].max())}
            for name, rows in sorted(store.series().items())
        ],
        "actions": kinds,
        "universe": {"tickers": members["ticker"].n_unique(), "rows": members.height},
        "quarantine": dict(sorted(lost["rule"].value_counts().iter_rows())),
        "corrections": store.corrections().height,
        "imports": store.imports,
    }  # fmt: skip


def _describe_bars(store: Any) -> dict[str, Any]:
    first, last = store.span()
    sessions = len(store.calendar.sessions(first, last))
    return {
        "bar": store.bar,
        "rows": store.height,
        "tickers": len(store.tickers()),
        "first": str(first),
        "last": str(last),
        "sessions": sessions,
        "megabytes": round(store.bytes_on_disk / 1e6, 1),
    }


def _text(day: object) -> str | None:
    return None if day is None else str(day)


def _show_bars(console: Console, content: dict[str, Any]) -> None:
    title = f"{content['store']}   calendar {content['calendar']}"
    table = Table(title=title, title_justify="left", box=None)
    for name in ("bars", "rows", "tickers", "first", "last", "sessions", "MB"):
        table.add_column(name, justify="left" if name == "bars" else "right")
    for row in content["bars"]:
        values = (row["rows"], row["tickers"], row["first"], row["last"], row["sessions"])
        shown = (f"{value:,}" if isinstance(value, int) else value for value in values)
        table.add_row(row["bar"], *shown, f"{row['megabytes']:,.1f}")
    for row in content["series"]:
        table.add_row(f"series {row['name']}", f"{row['rows']:,}", "", row["first"], row["last"])
    console.print(table)


def _show_counts(console: Console, content: dict[str, Any]) -> None:
    members = content["universe"]
    universe = (
        f"{members['tickers']:,} tickers in {members['rows']:,} spans"
        if members["rows"]
        else "every ticker with bars"
    )
    lines = {
        "actions": _counted(content["actions"]),
        "universe": universe,
        "quarantined": _counted(content["quarantine"]),
        "corrected": f"{content['corrections']:,} rows replaced",
    }
    for name, text in lines.items():
        console.print(f"{name:<12} {text}", highlight=False, markup=False)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"


def _show_imports(console: Console, content: dict[str, Any]) -> None:
    imports = content["imports"]
    shown = imports[-SHOWN_IMPORTS:]
    title = f"imports ({len(shown)} of {len(imports)})"
    table = Table(title=title, title_justify="left", box=None)
    counts = ("rows", "added", "corrected", "unchanged", "quarantined")
    for name in ("", "at (UTC)", "what", *counts):
        table.add_column(name, justify="right" if name in counts else "left", no_wrap=True)
    for entry in reversed(shown):
        at = entry["at"].replace("T", " ").rstrip("Z")
        what = entry["what"] if len(entry["what"]) <= WIDTH else "…" + entry["what"][1 - WIDTH :]
        table.add_row(str(entry["id"]), at, what, *(f"{entry[name]:,}" for name in counts))
    console.print(table)


# Each block prints one part of the screen from the content of `describe_store`.
BLOCKS = (_show_bars, _show_counts, _show_imports)

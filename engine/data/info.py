"""`python -m engine.data info`: what is in a store and in the score cache, in one screen."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from engine.cache import cache_folder, describe_cache, prune_cache
from engine.command import make_console
from engine.data.arguments import parse_arguments
from engine.data.store.exports import export_folder
from engine.data.store.reader import PriceStore
from engine.errors import UsageError
from engine.files import write_json

__all__ = ["describe_store", "run_info"]

SHOWN_IMPORTS = 8
WIDTH = 26
SHOWN_SCORES = 8
OPTIONS = {"json": True, "prune-cache": True}
USAGE = """\
usage: python -m engine.data info [--data.store FILE] [--json OUT] [--prune-cache DAYS]

Shows what the store holds: bars, indices, corporate actions, universe, rows left out, imports.
Reads the exports alone, so it may run while another process imports. Shows too which scores are
kept for later runs (scoring.cache); --prune-cache removes those not used for so many days."""


def run_info(arguments: list[str]) -> int:
    """Run the command on its arguments; returns the exit code 0, raises UsageError."""
    given = parse_arguments(arguments, OPTIONS)
    console = make_console()
    if "help" in given.options:
        console.print(USAGE, highlight=False, markup=False)
        return 0
    if given.files:
        raise UsageError(f"unexpected argument '{given.files[0]}': name a store as --data.store")
    root = cache_folder(given.settings.scoring.cache)
    if "prune-cache" in given.options:
        _prune(console, root, str(given.options["prune-cache"]))
    content: dict[str, Any] = {"version": 1}
    if "data.store" in given.given or export_folder(given.store).exists():
        content = describe_store(given.store)
        for block in BLOCKS:
            block(console, content)
    else:
        console.print(f"no price store {given.store} here; --data.store names one", markup=False)
    content["score_cache"] = _describe_cache(root)
    _show_cache(console, content["score_cache"])
    if "json" in given.options:
        write_json(Path(str(given.options["json"])), content)
    return 0


def describe_store(path: Path) -> dict[str, Any]:
    """Everything the command shows, in the types of JSON."""
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


def _prune(console: Console, root: Path | None, days: str) -> None:
    if root is None:
        raise UsageError("--prune-cache: scoring.cache is off")
    try:
        age = float(days)
    except ValueError:
        age = -1.0
    if not 0 <= age < float("inf"):
        raise UsageError(f"--prune-cache: {days!r} must be a number of days, at least 0")
    files, size = prune_cache(root, older_than_days=age)
    console.print(f"score cache: {files:,} files of {size / 1e6:,.1f} MB removed", markup=False)


def _describe_cache(root: Path | None) -> dict[str, Any]:
    entries = describe_cache(root) if root is not None else []
    return {
        "folder": None if root is None else str(root),
        "megabytes": round(sum(entry.bytes for entry in entries) / 1e6, 1),
        "scores": [
            {
                "fingerprint": entry.fingerprint,
                "files": entry.files,
                "megabytes": round(entry.bytes / 1e6, 1),
                "last_used": datetime.fromtimestamp(entry.last_used, UTC).isoformat(" ", "minutes"),
            }
            for entry in entries
        ],
    }


def _show_cache(console: Console, cache: dict[str, Any]) -> None:
    if cache["folder"] is None:
        console.print("score cache  off", highlight=False)
        return
    found = cache["scores"]
    console.print(f"score cache  {cache['folder']}  {cache['megabytes']:,.1f} MB", soft_wrap=True)
    table = Table(box=None)
    for name in ("fingerprint", "files", "MB", "last used (UTC)"):
        table.add_column(name, justify="right" if name in ("files", "MB") else "left")
    for row in found[:SHOWN_SCORES]:
        size = f"{row['megabytes']:,.1f}"
        table.add_row(row["fingerprint"][:16], f"{row['files']:,}", size, row["last_used"][:16])
    if found[SHOWN_SCORES:]:
        table.add_row(f"and {len(found) - SHOWN_SCORES} more", "", "", "")
    console.print(table)


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

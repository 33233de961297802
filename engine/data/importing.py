"""`python -m engine.data import`: files or a source into the price store.

1. `fingerprint` hashes each file's bytes and the settings that say how it is read; what the store
   has imported already is told and left alone, before anything heavy is loaded.
2. The store's writer judges, merges and commits each file or folder as one transaction.
3. What became of every row is told: added, corrected, unchanged, quarantined by rule.
4. Where a person asks for it, `_adopt_splits` takes splits that show in the prices as actions.
   Only prices that no recorded factor and no known action explains are looked at, so a second
   adoption finds nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from engine.command import make_console
from engine.data.arguments import Arguments, parse_arguments
from engine.data.check.splits import detect_splits
from engine.data.market import content_hash
from engine.data.source import ACTIONS
from engine.data.sources import FileSource, open_source
from engine.data.sources.files import file_kind
from engine.data.sources.tables import read_actions, read_members
from engine.data.store.exports import find_import, read_manifest
from engine.data.store.reader import PriceStore
from engine.data.store.writer import Delivery, ImportResult, StoreWriter
from engine.errors import UsageError
from engine.files import write_json

__all__ = ["BATCH_ROWS", "fingerprint", "run_import"]

BATCH_ROWS = 1_000_000
PROGRESS_EVERY_S = 5.0
TICKERS_AT_ONCE = 200
TABLES = ("bars", "series", "actions", "universe")
OPTIONS = {"as": True, "again": False, "adopt-splits": False, "json": True}
USAGE = """\
usage: python -m engine.data import [FILE …] [--data.store FILE] [options]

Each FILE is a Parquet or CSV file, or a folder of them, and one transaction; without FILE the bars
of data.source (data.universe, data.start … data.end) are imported. The same content again changes
nothing; other values for a known (ticker, date) replace it and are logged as corrections.

  --data.store FILE    the store (default: prices.duckdb)
  --data.columns.X N   column N of the file is X (ticker, date, ts, open, high, low, close, volume,
                       amount, adj_factor); Yahoo, Stooq, Alpha Vantage, Qlib and Kronos files are
                       recognised without
  --data.calendar NAME exchange of a new store (default XNYS; 24/7 for crypto)
  --data.timezone ZONE of times written without one (default: the exchange's)
  --as TABLE           bars (default), series (indices: never candidates), actions (ticker, date,
                       kind split|dividend, value, in_prices), universe (ticker, from, to)
  --adopt-splits       afterwards take splits that show in the prices as actions, told one by one;
                       alone (without FILE) nothing else is done
  --again              import even what was imported before
  --config FILE        settings, as for engine.backtest
  --json OUT           what was imported, as JSON"""


def run_import(arguments: list[str]) -> int:
    """Run the command on its arguments; returns the exit code 0, raises UsageError."""
    given = parse_arguments(arguments, OPTIONS)
    console = make_console()
    if "help" in given.options:
        console.print(USAGE, highlight=False, markup=False, soft_wrap=True)
        return 0
    table = str(given.options.get("as", "bars"))
    if table not in TABLES:
        raise UsageError(f"--as: unknown table {table!r}; use {', '.join(TABLES)}")
    data = given.settings.data
    files = given.files
    if not files and data.source in ("parquet", "csv"):
        files = [Path(str(data.path))]
    adopt = "adopt-splits" in given.options
    if files:
        done = _import_files(given, files, table, console)
    else:
        done = [] if adopt else _import_source(given, console)
    if adopt:
        with _writer(given) as writer:
            done.append(_adopt_splits(writer, console))
    if "json" in given.options:
        content = {"version": 1, "store": str(given.store), "imports": done}
        write_json(Path(str(given.options["json"])), content)
    return 0


def fingerprint(path: Path, settings: Any, table: str) -> str:
    """Hash of a file's or folder's content, and of the settings that say how it is read."""
    data = settings.data
    digest = hashlib.blake2b(digest_size=20)
    how = [table, data.columns.model_dump(), data.timezone, data.calendar, data.bar]
    which = [data.universe, data.start, data.end]
    digest.update(repr([how, which]).encode())
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file() and file.name[0] not in "._":
            # The name too: it is the ticker of a file without such a column.
            with file.open("rb") as content:
                inner = hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=20))
            digest.update(repr((file.name, inner.hexdigest())).encode())
    return digest.hexdigest()


def _import_files(
    given: Arguments, files: list[Path], table: str, console: Console
) -> list[dict[str, Any]]:
    for file in files:
        if not file.exists():
            raise UsageError(f"no such file or folder: {file}")
    try:
        hashes = {file: fingerprint(file, given.settings, table) for file in files}
    except OSError as error:
        raise UsageError(f"{error.filename}: cannot be read ({error.strerror})") from None
    known = read_manifest(given.store)
    done: list[dict[str, Any]] = []
    fresh = []
    for file in files:
        entry = find_import(known, hashes[file])
        if entry is None or "again" in given.options:
            fresh.append(file)
        else:
            done.append(_told_known(console, file, entry))
    if fresh:
        with _writer(given) as writer:
            for file in fresh:
                # Its process may have died between the commit and the export that tells of it.
                earlier = writer.imported(hashes[file])
                if earlier is not None and "again" not in given.options:
                    done.append(_told_known(console, file, {"id": earlier, "at": None}))
                    continue
                delivery = _file_delivery(given, file, hashes[file], table, writer)
                done.append(_add(writer, delivery, console))
    return done


def _writer(given: Arguments) -> Any:
    explicit = "data.calendar" in given.given
    return StoreWriter.open(
        given.store, calendar=given.settings.data.calendar if explicit else None
    )


def _file_delivery(
    given: Arguments, file: Path, content: str, table: str, writer: StoreWriter
) -> Delivery:
    data = given.settings.data
    kind = file_kind(file)
    zone = data.timezone or writer.calendar.zone
    if table == "actions":
        return Delivery(str(file), "file", content, actions=read_actions(file, kind, zone=zone))
    if table == "universe":
        return Delivery(str(file), "file", content, members=read_members(file, kind, zone=zone))
    source = FileSource(
        file,
        kind,
        zone=zone,
        columns=data.columns.model_dump(exclude_none=True),
    )
    batches = source.batches(BATCH_ROWS, data.universe, data.start, data.end)
    if table == "series":
        return Delivery(str(file), "file", content, series=batches)
    return Delivery(str(file), "file", content, batches=batches, bar=data.bar)


def _import_source(given: Arguments, console: Console) -> list[dict[str, Any]]:
    """The bars of `data.source`: fetched whole, then stored."""
    data = given.settings.data
    if data.source == "duckdb":
        raise UsageError("data.source duckdb is a store itself: name a file, or another source")
    with _writer(given) as writer:
        source = open_source(data, writer.calendar)
        loaded = source.fetch(_asked(given), data.start, data.end)
        series = [
            rows.with_columns(ticker=pl.lit(name)) for name, rows in sorted(loaded.series.items())
        ]
        content = content_hash([loaded.bars, *series, loaded.actions, loaded.members])
        earlier = writer.imported(content)
        if earlier is not None and "again" not in given.options:
            return [_told_known(console, source.name, {"id": earlier, "at": None})]
        delivery = Delivery(
            what=source.name,
            kind=data.source,
            hash=content,
            batches=[loaded.bars] if loaded.bars.height else [],
            series=series,
            actions=loaded.actions,
            members=loaded.members,
            bar=data.bar if "ts" in loaded.bars.columns else None,
        )
        return [_add(writer, delivery, console)]


def _asked(given: Arguments) -> list[str] | None:
    """The universe, and the indices if the user named them: the default configuration's are not
    meant."""
    data = given.settings.data
    if data.universe is None:
        return None
    names = list(data.universe)
    for key in ("benchmark", "volatility_index"):
        name = getattr(data, key)
        if f"data.{key}" in given.given and name is not None and name not in names:
            names.append(name)
    return names


def _add(writer: StoreWriter, delivery: Delivery, console: Console) -> dict[str, Any]:
    result = writer.add(delivery, progress=_progress(console, delivery.what))
    _tell(console, result)
    return {**asdict(result), "imported": True}


def _progress(console: Console, what: str) -> Callable[[int], None]:
    """A line every few seconds: a small import says nothing until its end."""
    started = time.monotonic()
    said = [started]

    def tell(rows: int) -> None:
        now = time.monotonic()
        if now - said[0] > PROGRESS_EVERY_S:
            said[0] = now
            line = f"{what}: {rows:,} rows  {rows / (now - started):,.0f} rows/s"
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    return tell


def _tell(console: Console, result: ImportResult) -> None:
    counts = {
        "added": result.added,
        "corrected": result.corrected,
        "unchanged": result.unchanged,
        "quarantined": result.quarantined,
    }
    parts = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    line = f"import {result.id}: {result.what}: {result.rows:,} rows: {parts}"
    console.print(line, highlight=False, markup=False, soft_wrap=True)
    for rule, count in result.rules.items():
        console.print(f"  {count:,} {rule}", highlight=False, markup=False, soft_wrap=True)


def _told_known(console: Console, what: Path | str, entry: dict[str, Any]) -> dict[str, Any]:
    when = f" on {entry['at']}" if entry["at"] else ""
    console.print(
        f"{what}: nothing to do: its content was imported{when} (import {entry['id']})",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return {"id": entry["id"], "what": str(what), "imported": False}


def _unexplained_splits(store: PriceStore) -> pl.DataFrame:
    """ticker, date, ratio of every split that shows in the adjusted prices, sorted."""
    recorded = set(store.factors_recorded())
    names = [name for name in store.tickers() if name not in recorded]
    found = [
        detect_splits(store.bars(names[first : first + TICKERS_AT_ONCE]))
        for first in range(0, len(names), TICKERS_AT_ONCE)
    ]
    if not found:
        return pl.DataFrame(schema={"ticker": pl.String, "date": pl.Date, "ratio": pl.Float64})
    return pl.concat(found).select("ticker", "date", "ratio").sort("ticker", "date")


def _adopt_splits(writer: StoreWriter, console: Console) -> dict[str, Any]:
    """Store them as actions, telling each; returns what the import did, for `--json`."""
    splits = _unexplained_splits(PriceStore.open(writer.path))
    if splits.is_empty():
        console.print("no split shows in the prices that the actions do not explain")
        return {"what": "splits seen in the prices", "rows": 0, "imported": False}
    actions = splits.select(
        "ticker", "date", kind=pl.lit("split"), value="ratio", in_prices=pl.lit(False)
    ).cast(ACTIONS)
    what = "splits seen in the prices"
    result = writer.add(Delivery(what, "detected", content_hash([actions]), actions=actions))
    for ticker, day, ratio in splits.select("ticker", "date", "ratio").iter_rows():
        console.print(f"adopted: {ticker} {day} {ratio:g} new shares per old", highlight=False)
    return {**asdict(result), "imported": True}

"""The rows to audit, from files or from a store, and what they state of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.calendar import TradingCalendar
from engine.data.arguments import Arguments
from engine.data.request import known_zone, requested_source, wanted
from engine.data.sources.files import FileSource, file_kind
from engine.data.store import PriceStore
from engine.errors import UsageError

__all__ = ["STATED", "Rows", "read_files", "read_source"]

STATED = pl.Schema({"kind": pl.String, "ticker": pl.String, "value": pl.String})

_LABELS = {
    "currency": "currency",
    "timezone": "zone",
    "time_zone": "zone",
    "tz": "zone",
}
_BARS = (".parquet", ".pq", ".csv", ".csv.gz", ".txt")
_OFFSET = r"[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s*(Z|[+-]\d{2}:?\d{2})\s*$"


@dataclass(frozen=True)
class Rows:
    """What is to be audited.

    Attributes
    ----------
    bars
        As `contract.conform` returns them.
    calendar
        The exchange's.
    stated
        `STATED`: the currencies and zones that columns of the files, or their times, name.
    quarantine
        What earlier imports left out; None of files.
    names
        What the input is called.
    """

    bars: pl.DataFrame
    calendar: TradingCalendar
    stated: pl.DataFrame
    quarantine: pl.DataFrame | None
    names: tuple[str, ...]


def read_files(given: Arguments, calendar: str | None) -> Rows:
    """The rows of every file or folder, in the order given.

    Raises
    ------
    UsageError
        A path does not exist or is no Parquet or CSV file, or daily and intraday bars are mixed.
    """
    data = given.settings.data
    exchange = TradingCalendar(calendar or data.calendar)
    zone = known_zone(data.timezone) or exchange.zone
    columns = data.columns.model_dump(exclude_none=True)
    frames = [
        FileSource(path, file_kind(path), zone=zone, columns=columns).fetch().bars
        for path in given.files
    ]
    if any(frame.columns != frames[0].columns for frame in frames):
        raise UsageError("check: daily and intraday files cannot be audited together")
    stated = [_stated(file) for path in given.files for file in _files(path)]
    names = tuple(str(path) for path in given.files)
    whole = pl.concat([pl.DataFrame(schema=STATED), *stated]).unique().sort(*STATED)
    return Rows(pl.concat(frames), exchange, whole, None, names)


def read_source(given: Arguments, calendar: str | None) -> Rows:
    """The bars of the store, or without one of the source that the settings name.

    Raises UsageError where it cannot be opened, or is of another calendar than the one given.
    """
    data = given.settings.data
    stored = "data.store" in given.given or ("data.source" not in given.given)
    if stored and (given.store.exists() or data.store is not None):
        held = PriceStore.open(given.store, bar=data.bar).calendar
        data = data.model_copy(update={"source": "duckdb", "store": given.store})
        named = calendar or (data.calendar if "data.calendar" in given.given else held.name)
    else:
        named = calendar or data.calendar
    data = data.model_copy(update={"calendar": named})
    exchange = TradingCalendar(named)
    source = requested_source(data, exchange)
    loaded = source.fetch(wanted(data), data.start, data.end)
    empty = pl.DataFrame(schema=STATED)
    return Rows(loaded.bars, exchange, empty, loaded.quarantine, (source.name,))


def _stated(file: Path) -> pl.DataFrame:
    if file_kind(file) == "parquet":
        rows = pl.scan_parquet(file, glob=False)
    else:
        rows = pl.scan_csv(file, infer_schema=False, glob=False)
    try:
        schema = rows.collect_schema()
        spelled = {name.strip().lower(): name for name in schema.names()}
        symbol = spelled.get("ticker")
        ticker = pl.col(symbol).cast(pl.String) if symbol else pl.lit(file.name.split(".")[0])
        values = [
            (kind, pl.col(spelled[name]).cast(pl.String))
            for name, kind in _LABELS.items()
            if name in spelled
        ]
        for name in ("ts", "date"):
            if name in spelled and schema[spelled[name]] == pl.String:
                offset = pl.col(spelled[name]).str.extract(_OFFSET).replace({"Z": "+00:00"})
                values.append(("zone", offset))
        frames = [
            rows.select(kind=pl.lit(kind), ticker=ticker, value=value).unique().drop_nulls()
            for kind, value in values
        ]
        return pl.concat([pl.LazyFrame(schema=STATED), *frames]).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UsageError(f"{file}: {str(error).splitlines()[0]}") from None


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    kind = file_kind(path)
    return [
        file
        for file in sorted(path.iterdir())
        if file.name.lower().endswith(_BARS) and file.name[0] not in "._"
        if file.is_file() and file_kind(file) == kind
    ]

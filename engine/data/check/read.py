"""The rows to audit, from files or from a store, and what they state of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from engine.calendar import TradingCalendar
from engine.config.settings import DataSettings
from engine.data.sources import FileSource, open_source
from engine.errors import UsageError

__all__ = ["STATED", "read_files", "read_source", "read_stated"]

STATED = pl.Schema({"kind": pl.String, "ticker": pl.String, "value": pl.String})

_LABELS = {
    "currency": "currency",
    "timezone": "zone",
    "time_zone": "zone",
    "tz": "zone",
}
Kind = Literal["parquet", "csv"]

_OFFSET = r"[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s*(Z|[+-]\d{2}:?\d{2})\s*$"


def read_files(paths: Sequence[Path], calendar: TradingCalendar) -> pl.DataFrame:
    """The rows of every file or folder as `contract.conform` returns them, in the files' order.

    Raises
    ------
    UsageError
        A path does not exist or is no Parquet or CSV file, or daily and intraday bars are mixed.
    """
    frames = [FileSource(path, _kind(path), zone=calendar.zone).fetch().bars for path in paths]
    if any(frame.columns != frames[0].columns for frame in frames):
        raise UsageError("check: daily and intraday files cannot be audited together")
    return pl.concat(frames)


def read_stated(paths: Sequence[Path]) -> pl.DataFrame:
    """`STATED`: the currencies and zones that columns of the files, or their times, name."""
    frames = [_stated(file) for path in paths for file in _files(path)]
    return pl.concat([pl.DataFrame(schema=STATED), *frames]).unique().sort(*STATED)


def _stated(file: Path) -> pl.DataFrame:
    if _kind(file) == "parquet":
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
    kind = _kind(path)
    return [file for file in sorted(path.iterdir()) if file.is_file() and _suffix(file) == kind]


def _kind(path: Path) -> Kind:
    if path.is_dir():
        kinds = {kind for file in path.iterdir() if (kind := _suffix(file))}
        if len(kinds) > 1:
            raise UsageError(f"check: the folder {path} holds parquet and csv files: name one kind")
        return next(iter(kinds), "parquet")
    kind = _suffix(path)
    if kind is None:
        raise UsageError(f"check: {path} is no .parquet, .pq, .csv or .csv.gz file")
    return kind


def _suffix(path: Path) -> Kind | None:
    name = path.name.lower()
    if name.startswith((".", "_")):
        return None
    if name.endswith((".parquet", ".pq")):
        return "parquet"
    return "csv" if name.endswith((".csv", ".csv.gz")) else None


def read_source(
    data: DataSettings, calendar: TradingCalendar
) -> tuple[pl.DataFrame, pl.DataFrame | None, str]:
    """All rows of the store or source that the settings name, and its earlier quarantine.

    Series (benchmark, volatility index) are judged beside the tickers.
    """
    kind = "duckdb" if data.store is not None else data.source
    source = open_source(
        kind, data.path, zone=calendar.zone, simulated=data.simulated, calendar=calendar
    )
    loaded = source.fetch(None, data.start, data.end)
    return loaded.bars, loaded.quarantine, source.name

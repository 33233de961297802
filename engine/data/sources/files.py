"""Bars in Parquet or CSV files: one file, or a folder of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Literal

import polars as pl

from engine.data.contract import conform
from engine.data.source import SourceData, within
from engine.data.sources.layouts import rename_columns
from engine.errors import UsageError

__all__ = ["FileSource", "file_kind"]

Kind = Literal["parquet", "csv"]
_SUFFIXES = {"parquet": (".parquet", ".pq"), "csv": (".csv", ".csv.gz")}


class FileSource:
    """One file, or the files of one kind directly inside a folder.

    A file without a `ticker` column holds the bars of the ticker that its name gives (AAPL.csv).
    Vendors' column names are recognised (`layouts`); `columns` (`data.columns`) names others, and
    `zone` is of times that are written without one.

    Raises
    ------
    UsageError
        The path does not exist, or the folder holds no such file.
    """

    def __init__(
        self,
        path: Path | str,
        kind: Kind,
        *,
        zone: str = "UTC",
        columns: Mapping[str, str] | None = None,
    ) -> None:
        self.name = str(path)
        self._kind = kind
        self._zone = zone
        self._columns = columns
        self._files = _files(Path(path), kind)

    def fetch(
        self,
        tickers: Collection[str] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> SourceData:
        """Rows of every file; of a Parquet file only what `tickers`, `start` and `end` ask for."""
        frames = [within(rows, tickers=tickers, start=start, end=end) for rows in self._scan()]
        return SourceData(bars=self._collect(_together(frames, self.name)))

    def tickers(self) -> list[str]:
        """Every ticker of the files, sorted."""
        rows = pl.concat([rows.select("ticker") for rows in self._scan()])
        return self._collect(rows.unique())["ticker"].drop_nulls().sort().to_list()

    def span(self) -> tuple[date, date] | None:
        """First and last readable date of the files."""
        rows = pl.concat([rows.select("date") for rows in self._scan()])
        first, last = self._collect(
            rows.select(a=pl.col("date").min(), b=pl.col("date").max())
        ).row(0)
        return None if first is None else (first, last)

    def batches(
        self,
        rows: int,
        tickers: Collection[str] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> Iterator[pl.DataFrame]:
        """What `fetch` gives, file after file, in parts of at most about `rows` rows."""
        frames = [within(scan, tickers=tickers, start=start, end=end) for scan in self._scan()]
        _together(frames, self.name)
        held: list[pl.DataFrame] = []
        count = 0
        for frame in frames:
            for part in self._parts(frame, rows):
                held.append(part)
                count += part.height
                if count >= rows:
                    yield pl.concat(held)
                    held, count = [], 0
        if held:
            yield pl.concat(held)

    def _parts(self, frame: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
        try:
            yield from frame.collect_batches(chunk_size=rows, maintain_order=True)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UsageError(f"{self.name}: {_unreadable(self._kind, error)}") from error

    def _scan(self) -> list[pl.LazyFrame]:
        return [
            conform(self._named(file), source=str(file), ticker=_stem(file), zone=self._zone)
            for file in self._files
        ]

    def _named(self, file: Path) -> pl.LazyFrame:
        try:
            return rename_columns(_open(file, self._kind), self._columns, source=str(file))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UsageError(f"{file}: {_unreadable(self._kind, error)}") from error

    def _collect(self, rows: pl.LazyFrame) -> pl.DataFrame:
        try:
            return rows.collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UsageError(f"{self.name}: {_unreadable(self._kind, error)}") from error


def file_kind(path: Path) -> Kind:
    """What a file or a folder's files are, by their names; Parquet where a folder has both."""
    if path.is_dir():
        return "parquet" if _inside(path, _SUFFIXES["parquet"]) else "csv"
    return "parquet" if path.name.lower().endswith(_SUFFIXES["parquet"]) else "csv"


def _together(frames: list[pl.LazyFrame], name: str) -> pl.LazyFrame:
    if len({"ts" in frame.collect_schema() for frame in frames}) > 1:
        raise UsageError(f"{name}: some files hold daily bars and some intraday (column `ts`)")
    return pl.concat(frames)


def _files(path: Path, kind: Kind) -> list[Path]:
    suffixes = _SUFFIXES[kind]
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(f"data.path: no such file or folder: {path}")
    found = _inside(path, suffixes)
    if not found and kind == "csv":
        found = _inside(path, (".txt",))  # Stooq's bulk files
    if not found:
        raise UsageError(f"data.path: the folder {path} holds no {' or '.join(suffixes)} file")
    return found


def _inside(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(
        file
        for file in folder.iterdir()
        if file.is_file() and file.name.lower().endswith(suffixes) and file.name[0] not in "._"
    )


def _open(file: Path, kind: Kind) -> pl.LazyFrame:
    try:
        if kind == "parquet":
            frame = pl.scan_parquet(file, glob=False)
        else:
            # Text first: a ticker named TRUE stays one, and a bad number costs its row only.
            frame = pl.scan_csv(file, infer_schema=False, glob=False)
        frame.collect_schema()
    except pl.exceptions.NoDataError as error:
        raise UsageError(f"{file}: the file is empty") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UsageError(f"{file}: {_unreadable(kind, error)}") from error
    return frame


def _unreadable(kind: Kind, error: Exception) -> str:
    reason = str(error).strip().split("\n")[0]
    return f"cannot be read as {kind} ({reason})"


def _stem(file: Path) -> str:
    name = file.name
    for suffixes in _SUFFIXES.values():
        for suffix in suffixes:
            if name.lower().endswith(suffix):
                return name[: -len(suffix)]
    return file.stem

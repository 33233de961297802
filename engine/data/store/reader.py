"""Reading a price store: its bars as a source has them, and what else was imported.

Everything is read from the store's Parquet exports, so any number of processes reads while one
writes. An open `PriceStore` shows one state of the store, whatever is imported meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from functools import cached_property
from pathlib import Path

import polars as pl

from engine.calendar import TradingCalendar
from engine.data.actions import with_factors
from engine.data.contract import BARS, INTRADAY
from engine.data.rules import QUARANTINE
from engine.data.source import MEMBERS, SourceData, between
from engine.data.store.database import DAILY, EXPORTED
from engine.data.store.exports import Manifest, Part, export_folder, read_manifest
from engine.data.store.writer import StoreWriter
from engine.errors import UsageError

__all__ = ["PriceStore"]


class PriceStore:
    """One state of a price store, of bars of one length; made by `PriceStore.open`.

    It is a `Source` (`data.source duckdb`).
    """

    def __init__(self, path: Path, manifest: Manifest, bar: str | None = None) -> None:
        self.path = path
        self.name = str(path)
        self._manifest = manifest
        self._folder = export_folder(path)
        self.bar = _choose_bar(path, manifest, bar)

    @classmethod
    def open(
        cls, path: Path | str, *, bar: str | None = None, calendar: str | None = None
    ) -> PriceStore:
        """The state of the store after its last finished import.

        Parameters
        ----------
        path
            The DuckDB file.
        bar
            Which length of bars it holds ("1d", "5m"); None: daily ones where it has them, else
            its only ones.
        calendar
            The exchange it must be of; None: any.

        Raises
        ------
        UsageError
            There is no store, it has no bars of that length, or it is of another calendar.
        """
        path = Path(path)
        manifest = read_manifest(path)
        if manifest is None:
            if not path.is_file():
                raise UsageError(
                    f"data.store: no price store at {path}; fill one with "
                    f"`python -m engine.data import FILE --data.store {path}`"
                )
            with StoreWriter.open(path) as writer:
                manifest = read_manifest(path) or Manifest(writer.calendar.name)
        if calendar is not None and calendar != manifest.calendar:
            raise UsageError(
                f"data.calendar: {path} holds bars of {manifest.calendar}, not of {calendar}; "
                f"give --data.calendar {manifest.calendar}"
            )
        return cls(path, manifest, bar)

    @cached_property
    def calendar(self) -> TradingCalendar:
        """The exchange's sessions."""
        return TradingCalendar(self._manifest.calendar)

    @property
    def imports(self) -> list[dict[str, object]]:
        """What was imported when, oldest first."""
        return list(self._manifest.imports)

    @property
    def bar_sizes(self) -> list[str]:
        """Lengths of the bars it holds."""
        return sorted({part.bar for part in self._manifest.parts})

    @property
    def height(self) -> int:
        """Rows of bars."""
        return sum(part.rows for part in self._parts())

    @property
    def bytes_on_disk(self) -> int:
        """Size of the exports of the bars."""
        return sum((self._folder / part.file).stat().st_size for part in self._parts())

    def tickers(self) -> list[str]:
        """Every ticker with bars, sorted."""
        return self._scan().select("ticker").unique().collect()["ticker"].sort().to_list()

    def factors_recorded(self) -> list[str]:
        """Tickers whose source gave factors: their actions adjust nothing."""
        rows = self._scan().filter(pl.col("adj_factor") != 1)
        return rows.select("ticker").unique().collect()["ticker"].sort().to_list()

    def span(self) -> tuple[date, date] | None:
        """First and last session with a bar; None without any."""
        parts = self._parts()
        return (min(p.first for p in parts), max(p.last for p in parts)) if parts else None

    def bars(
        self,
        tickers: Collection[str] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> pl.DataFrame:
        """Bars as recorded of `tickers` (None: all) from `start` to `end`, both inclusive.

        Returns
        -------
        The columns of `contract.BARS` (intraday: `INTRADAY`), sorted by (ticker, date or ts), with
        the actions in `adj_factor`; volume and amount are null where the source had none.
        """
        rows = self._scan(start, end)
        if tickers is not None:
            rows = rows.filter(pl.col("ticker").is_in(sorted(tickers)))
        bars = rows.collect().sort("ticker", "ts" if self._intraday else "date")
        return with_factors(bars, self.actions())

    def fetch(
        self,
        tickers: Collection[str] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> SourceData:
        """The bars, and with them what the imports left out of the same tickers.

        The actions are in `adj_factor` already.
        """
        name = pl.lit(self.name).alias("source")
        series = {
            index: between(rows, start, end).with_columns(name)
            for index, rows in self.series().items()
        }
        lost = between(self.quarantine().select(QUARANTINE.names()), start, end)
        if tickers is not None:
            asked = pl.col("ticker").is_in(sorted(tickers)) | pl.col("ticker").is_null()
            lost = lost.filter(asked)
        return SourceData(
            bars=self.bars(tickers, start, end).with_columns(name),
            series=series,
            members=self.members(),
            quarantine=lost,
        )

    def actions(self) -> pl.DataFrame:
        """ticker, date, kind, value, in_prices, factor (see `engine.data.actions`), sorted."""
        return self._table("actions")

    def members(self) -> pl.DataFrame:
        """ticker, from, to, sorted; empty where the universe is whatever has bars."""
        return self._table("universe").cast(MEMBERS)

    def series(self) -> dict[str, pl.DataFrame]:
        """Indices by name: bars as recorded."""
        rows = self._table("series")
        found = {}
        for (name, bar), part in rows.partition_by("ticker", "bar", as_dict=True).items():
            frame = part.with_columns(pl.col("ts").dt.replace_time_zone("UTC"))
            found[str(name)] = frame.select((BARS if bar == DAILY else INTRADAY).names())
        return found

    def quarantine(self) -> pl.DataFrame:
        """ticker, date, rule, message, source, import_id of every row that an import left out."""
        return self._table("quarantine")

    def corrections(self) -> pl.DataFrame:
        """Rows that a later import replaced, as they were, with `replaced_by`."""
        return self._table("corrections")

    @property
    def _intraday(self) -> bool:
        return self.bar is not None and self.bar != DAILY

    def _parts(self, start: date | None = None, end: date | None = None) -> list[Part]:
        return [
            part
            for part in self._manifest.parts
            if part.bar == self.bar
            and (start is None or part.last >= start)
            and (end is None or part.first <= end)
        ]

    def _scan(self, start: date | None = None, end: date | None = None) -> pl.LazyFrame:
        """Bars as exported; ts in UTC where intraday."""
        schema = INTRADAY if self._intraday else BARS
        parts = self._parts(start, end)
        if not parts:
            return pl.LazyFrame(schema=schema)
        rows = pl.scan_parquet([self._folder / part.file for part in parts], glob=False)
        if self._intraday:
            rows = rows.with_columns(pl.col("ts").dt.replace_time_zone("UTC"))
        if start is not None:
            rows = rows.filter(pl.col("date") >= start)
        if end is not None:
            rows = rows.filter(pl.col("date") <= end)
        return rows.select(schema.names())

    def _table(self, name: str) -> pl.DataFrame:
        if name not in self._manifest.tables:
            return pl.DataFrame(schema=EXPORTED[name])
        return pl.read_parquet(self._folder / self._manifest.tables[name], glob=False)


def _choose_bar(path: Path, manifest: Manifest, bar: str | None) -> str | None:
    sizes = sorted({part.bar for part in manifest.parts})
    if bar is not None:
        if bar not in sizes:
            held = ", ".join(sizes) or "none"
            raise UsageError(f"data.bar: {path} holds no {bar} bars (it holds {held})")
        return bar
    if DAILY in sizes or not sizes:
        return DAILY
    if len(sizes) > 1:
        raise UsageError(f"data.bar: {path} holds bars of {', '.join(sizes)}: choose one")
    return sizes[0]

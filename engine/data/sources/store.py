"""A price store as a source of bars (`data.source duckdb`)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from pathlib import Path

import polars as pl

from engine.data.rules import QUARANTINE
from engine.data.source import SourceData
from engine.data.store import PriceStore
from engine.errors import UsageError

__all__ = ["StoreSource"]


class StoreSource:
    """The bars of one store and one length of bars, as recorded, with their factors.

    Raises
    ------
    UsageError
        There is no store at `path`, or it is of another calendar than `calendar`.
    """

    def __init__(self, path: Path | str, *, bar: str | None = None, calendar: str = "") -> None:
        self.name = str(path)
        self._store = PriceStore.open(path, bar=bar)
        held = self._store.calendar.name
        if calendar and calendar != held:
            raise UsageError(
                f"data.calendar: {path} holds bars of {held}, not of {calendar}; "
                f"give --data.calendar {held}"
            )

    def fetch(
        self,
        tickers: Collection[str] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> SourceData:
        """Bars as imported, and with them what the imports left out of the same tickers.

        The actions are in `adj_factor` already.
        """
        bars = self._store.bars(tickers, start, end, adjusted=False)
        name = pl.lit(self.name).alias("source")
        series = {
            index: _between(rows, start, end).with_columns(name)
            for index, rows in self._store.series().items()
        }
        lost = _between(self._store.quarantine().select(QUARANTINE.names()), start, end)
        if tickers is not None:
            asked = pl.col("ticker").is_in(sorted(tickers)) | pl.col("ticker").is_null()
            lost = lost.filter(asked)
        return SourceData(
            bars=bars.with_columns(name),
            series=series,
            members=self._store.members(),
            quarantine=lost,
        )

    def tickers(self) -> list[str]:
        """Every ticker with bars, sorted."""
        return self._store.tickers()

    def span(self) -> tuple[date, date] | None:
        """First and last session with a bar."""
        return self._store.span()


def _between(rows: pl.DataFrame, start: date | None, end: date | None) -> pl.DataFrame:
    """Rows of the dates, and those without a readable one."""
    day = pl.col("date")
    if start is not None:
        rows = rows.filter((day >= start) | day.is_null())
    return rows if end is None else rows.filter((day <= end) | day.is_null())

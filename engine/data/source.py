"""What every source of bars offers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import polars as pl

__all__ = ["ACTIONS", "MEMBERS", "SECTORS", "Source", "SourceData", "between", "within"]

ACTIONS = pl.Schema(
    {
        "ticker": pl.String,
        "date": pl.Date,
        "kind": pl.String,
        "value": pl.Float64,
        "in_prices": pl.Boolean,
    }
)
"""Splits and dividends. `date` is the first session that trades without the dividend or with the
new shares; `value` is new shares per old share (kind "split") or money per share (kind
"dividend"); `in_prices`: the recorded prices before `date` are adjusted for it already."""

MEMBERS = pl.Schema({"ticker": pl.String, "from": pl.Date, "to": pl.Date})
"""When a ticker belongs to the universe: `from` to `to`, both inclusive; null `to`: still."""

SECTORS = pl.Schema({"ticker": pl.String, "sector": pl.String, "from": pl.Date, "to": pl.Date})
"""What a ticker belongs to, and when: both ends inclusive, null for always and still."""


@dataclass(frozen=True)
class SourceData:
    """Rows as a source has them, in the columns and types of the contract but not yet judged.

    Attributes
    ----------
    bars
        The columns of `contract.BARS` (intraday: `contract.INTRADAY`) and `source` (the file a
        row comes from); any order.
    series
        Indices by name, as bars of the same columns. A series is never a candidate.
    actions
        The columns of `ACTIONS`; empty where the source knows of none.
    members
        The columns of `MEMBERS`; empty: every ticker is a candidate whenever it has a bar.
    quarantine
        The columns of `rules.QUARANTINE`: rows that an earlier import left out.
    """

    bars: pl.DataFrame
    series: dict[str, pl.DataFrame] = field(default_factory=dict)
    actions: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=ACTIONS))
    members: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=MEMBERS))
    quarantine: pl.DataFrame | None = None


class Source(Protocol):
    """A place that bars come from."""

    name: str
    """What messages call it: a file, a folder, or the source's own name."""

    def fetch(
        self,
        tickers: Collection[str] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> SourceData:
        """Bars of `tickers` (None: all) from `start` to `end`, both inclusive (None: unbounded).

        Rows whose ticker or date cannot be read are returned too: the rules count them.
        """
        ...

    def tickers(self) -> list[str]:
        """Every ticker it has bars of, sorted."""
        ...

    def span(self) -> tuple[date, date] | None:
        """Its first and last date; None where it has no readable one."""
        ...


def within(
    rows: pl.LazyFrame,
    *,
    tickers: Collection[str] | None,
    start: date | None,
    end: date | None,
) -> pl.LazyFrame:
    """The rows a request asks for, and those whose ticker or date is null.

    Of intraday rows (column `ts`) the neighbouring days stay too: which session a bar belongs to
    is settled by the exchange's calendar, later.
    """
    if tickers is not None:
        wanted = pl.col("ticker").is_in(sorted(tickers))
        rows = rows.filter(wanted | pl.col("ticker").is_null())
    intraday = "ts" in rows.collect_schema()
    time = pl.col("ts" if intraday else "date")
    if start is not None:
        first = _midnight(start - timedelta(days=1)) if intraday else start
        rows = rows.filter((time >= first) | time.is_null())
    if end is not None:
        last = _midnight(end + timedelta(days=2)) if intraday else end
        rows = rows.filter((time <= last) | time.is_null())
    return rows


def between(rows: pl.DataFrame, start: date | None, end: date | None) -> pl.DataFrame:
    """Rows whose `date` lies from `start` to `end`, and those whose date is null."""
    day = pl.col("date")
    if start is not None:
        rows = rows.filter((day >= start) | day.is_null())
    return rows if end is None else rows.filter((day <= end) | day.is_null())


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)

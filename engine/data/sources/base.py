"""What every source of bars offers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

import polars as pl

__all__ = ["Source", "SourceData", "within"]


@dataclass(frozen=True)
class SourceData:
    """Rows as a source has them, in the columns and types of the contract but not yet judged.

    Attributes
    ----------
    bars
        The columns of `contract.BARS` and `source` (the file a row comes from); any order.
    series
        Indices by name, as bars of the same columns. A series is never a candidate.
    """

    bars: pl.DataFrame
    series: dict[str, pl.DataFrame] = field(default_factory=dict)


class Source(Protocol):
    """A place that bars come from."""

    name: str
    """What messages call it: a file, a folder, or the source's own name."""

    def load(
        self,
        *,
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
    """The rows a request asks for, and those whose ticker or date is null."""
    if tickers is not None:
        wanted = pl.col("ticker").is_in(sorted(tickers))
        rows = rows.filter(wanted | pl.col("ticker").is_null())
    if start is not None:
        rows = rows.filter((pl.col("date") >= start) | pl.col("date").is_null())
    if end is not None:
        rows = rows.filter((pl.col("date") <= end) | pl.col("date").is_null())
    return rows

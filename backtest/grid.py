"""Long price frame to dense arrays: one row a session, one column a ticker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .costs import average_daily_value

__all__ = ["PriceGrid", "forward_fill"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PriceGrid:
    """Prices of some tickers over all sessions of a price frame.

    Attributes
    ----------
    sessions
        (T,) datetime64[D], ascending: every date on which any ticker of the frame has a bar.
    tickers
        N names, ascending.
    open, close, amount
        (T, N) float64; NaN where a ticker has no bar.
    """

    sessions: NDArray[np.datetime64]
    tickers: tuple[str, ...]
    open: Floats
    close: Floats
    amount: Floats

    @cached_property
    def last_close(self) -> Floats:
        """(T, N): the last known close; NaN before a ticker's first."""
        return forward_fill(self.close)

    @cached_property
    def average_daily_value(self) -> Floats:
        """(T, N): ADV20 at each session (:func:`costs.average_daily_value`)."""
        return average_daily_value(self.amount)

    def average_daily_value_at(self, tickers: pl.Series, dates: pl.Series) -> Floats:
        """ADV20 of each ticker at the last session up to each date; NaN where it is not known."""
        if not len(dates):
            return np.zeros(0)
        day = dates.to_numpy().astype("datetime64[D]")
        row = np.searchsorted(self.sessions, day, side="right") - 1
        column = pl.Series(self.tickers, dtype=pl.String).search_sorted(tickers).to_numpy()
        return np.where(row >= 0, self.average_daily_value[row, column], np.nan)

    @classmethod
    def from_frame(
        cls, prices: pl.DataFrame, *, tickers: Sequence[str], until: date | None = None
    ) -> PriceGrid:
        """Grid of ``tickers`` from date, ticker, open, close and optionally amount.

        ``until`` drops every later row before anything is read. Raises ValueError naming the row
        when a (date, ticker) pair is repeated or a price is not above zero.
        """
        if until is not None:
            prices = prices.filter(pl.col("date") <= until)
        names = sorted(set(tickers))
        sessions = prices.select(pl.col("date").unique().sort())
        wanted = prices.filter(pl.col("ticker").is_in(names))
        _check_prices(wanted)
        row = sessions["date"].search_sorted(wanted["date"]).to_numpy()
        column = pl.Series(names, dtype=pl.String).search_sorted(wanted["ticker"]).to_numpy()
        shape = (sessions.height, len(names))

        def dense(column_name: str) -> Floats:
            values = np.full(shape, np.nan)
            if column_name in wanted.columns:
                values[row, column] = wanted[column_name].cast(pl.Float64).to_numpy()
            return values

        return cls(
            sessions=sessions["date"].to_numpy().astype("datetime64[D]"),
            tickers=tuple(names),
            open=dense("open"),
            close=dense("close"),
            amount=dense("amount"),
        )


def forward_fill(values: Floats) -> Floats:
    """Last known value down each column; NaN before the first one."""
    known = np.where(np.isnan(values), -1, np.arange(len(values))[:, None])
    last = np.maximum.accumulate(known, axis=0) if len(values) else known
    filled = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    return np.where(last < 0, np.nan, filled)


def _check_prices(prices: pl.DataFrame) -> None:
    repeated = prices.filter(pl.struct("date", "ticker").is_duplicated())
    if repeated.height:
        row = repeated.row(0, named=True)
        raise ValueError(f"prices: {row['ticker']} has more than one bar on {row['date']}")
    for name in ("open", "close"):
        bad = prices.filter(pl.col(name).is_infinite() | (pl.col(name) <= 0))
        if bad.height:
            row = bad.row(0, named=True)
            raise ValueError(
                f"prices: {name} of {row['ticker']} on {row['date']} is {row[name]};"
                " prices must be above zero"
            )

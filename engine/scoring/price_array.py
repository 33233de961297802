"""All bars of all tickers as one block of numbers that workers share without copying."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.scoring.bar_grid import bar_interval, exchange_time

__all__ = ["COLUMNS", "PriceArray"]

COLUMNS = ("open", "high", "low", "close", "volume", "amount")
ADJUSTMENT_BITS = 32


@dataclass(frozen=True)
class PriceArray:
    """Bars in rows, ticker after ticker, each ticker's rows in time order.

    Ticker i owns rows `offsets[i]` up to but not including `offsets[i + 1]`.

    Attributes
    ----------
    tickers
        N names, sorted.
    offsets
        int64 [n + 1].
    dates
        datetime64[D] [rows], the session of each bar.
    times
        datetime64[us] [rows], when an intraday bar starts, in exchange time; None: daily.
    values
        float64 [rows, 6], columns as in `COLUMNS`, prices as recorded.
    adjustment
        float64 [rows], adj_factor of each row over that of the row before it.
    interval
        Distance of intraday bars; None: daily.
    """

    tickers: tuple[str, ...]
    offsets: np.ndarray
    dates: np.ndarray
    times: np.ndarray | None
    values: np.ndarray
    adjustment: np.ndarray
    interval: np.timedelta64 | None

    @classmethod
    def from_bars(cls, bars: pl.DataFrame, *, timezone: str = "UTC") -> PriceArray:
        """From long bars with ticker, date (and ts, if intraday), the six columns and adj_factor.

        `timezone` is the exchange's; it matters to intraday bars alone, whose `ts` are UTC.
        """
        intraday = "ts" in bars.columns
        bars = _in_order(bars, "ts" if intraday else "date")
        counts = bars.group_by("ticker", maintain_order=True).len()
        offsets = np.concatenate([[0], np.cumsum(counts["len"].to_numpy())]).astype(np.int64)
        times = exchange_time(bars["ts"], timezone) if intraday else None
        values = np.empty((bars.height, len(COLUMNS)))
        for number, name in enumerate(COLUMNS):  # one at a time: no second copy of everything
            values[:, number] = bars[name].to_numpy()
        return cls(
            tickers=tuple(counts["ticker"].to_list()),
            offsets=offsets,
            dates=bars["date"].to_numpy().astype("datetime64[D]"),
            times=times,
            values=values,
            adjustment=_adjustment(bars["adj_factor"].to_numpy(), offsets),
            interval=None if times is None else bar_interval(times, offsets),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, which are what the object store has to hold."""
        arrays = (self.values, self.adjustment, self.dates, self.offsets, self.times)
        return sum(array.nbytes for array in arrays if array is not None)

    @property
    def stamps(self) -> np.ndarray:
        """datetime64 [rows], of days or µs: what the time features of each bar are read from."""
        return self.dates if self.times is None else self.times

    def window(self, last_row: int, lookback: int) -> np.ndarray:
        """float32 [lookback, 6]: the bars up to `last_row`, adjusted as of that row's date.

        Prices are in the money of the last bar. Volume moves against price, so that the money
        traded stays what it was. Only the window's own rows are read, bit for bit: a split or
        dividend outside it, which multiplies all its factors alike, leaves its steps as they are.
        """
        rows = slice(last_row - lookback + 1, last_row + 1)
        window = self.values[rows].copy()
        later = self.adjustment[rows][:0:-1]  # last row first, without the window's first row
        if (later != 1.0).any():
            ratio = np.append(1.0 / np.cumprod(later)[::-1], 1.0)
            window[:, :4] *= ratio[:, None]
            window[:, 4] /= ratio
        return window.astype(np.float32)


def _in_order(bars: pl.DataFrame, time: str) -> pl.DataFrame:
    """Sorted by ticker and time; bars that are, as the store's are, without a copy."""
    ticker, when = pl.col("ticker"), pl.col(time)
    same = (ticker.shift(1) == ticker) & (when.shift(1) <= when)
    ordered = ((ticker.shift(1) < ticker) | same).fill_null(True).all()
    return bars if bars.select(ordered).item() else bars.sort("ticker", time)


def _adjustment(factor: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Each factor over the one before it, to 32 binary digits; 1 at a ticker's first row.

    Rounding takes away what multiplying all factors by a constant leaves in the last digits; it
    is a hundred times finer than the float32 that windows end in.
    """
    step, exponent = np.ones(len(factor)), np.empty(len(factor), dtype=np.intc)
    np.divide(factor[1:], factor[:-1], out=step[1:])
    step[offsets[:-1]] = 1.0
    np.frexp(step, step, exponent)  # in place from here: a long history is not held four times
    np.round(np.ldexp(step, ADJUSTMENT_BITS, out=step), out=step)
    exponent -= ADJUSTMENT_BITS
    return np.ldexp(step, exponent, out=step)

"""All bars of all tickers as one block of numbers that workers share without copying."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

__all__ = ["COLUMNS", "PriceArray"]

COLUMNS = ("open", "high", "low", "close", "volume", "amount")


@dataclass(frozen=True)
class PriceArray:
    """Bars in rows, ticker after ticker, each ticker's rows in time order.

    Ticker i owns rows `offsets[i]` up to but not including `offsets[i + 1]`.

    Attributes:
        tickers: n names, sorted.
        offsets: int64 [n + 1].
        dates: datetime64[D] [rows], the session of each bar.
        values: float64 [rows, 6], columns as in `COLUMNS`, prices as recorded.
        factor: float64 [rows], adjusted price = recorded price × factor.
    """

    tickers: tuple[str, ...]
    offsets: np.ndarray
    dates: np.ndarray
    values: np.ndarray
    factor: np.ndarray

    @classmethod
    def from_bars(cls, bars: pl.DataFrame) -> PriceArray:
        """From long bars with ticker, date, the six columns and adj_factor."""
        bars = bars.sort("ticker", "date")
        counts = bars.group_by("ticker", maintain_order=True).len()
        return cls(
            tickers=tuple(counts["ticker"].to_list()),
            offsets=np.concatenate([[0], np.cumsum(counts["len"].to_numpy())]).astype(np.int64),
            dates=bars["date"].to_numpy().astype("datetime64[D]"),
            values=np.ascontiguousarray(bars.select(COLUMNS).to_numpy(), dtype=np.float64),
            factor=np.array(bars["adj_factor"], dtype=np.float64),
        )

    def window(self, last_row: int, lookback: int) -> np.ndarray:
        """float32 [lookback, 6]: the bars up to `last_row`, adjusted as of that row's date.

        Prices are in the money of the last bar: a later split or dividend multiplies every
        factor of the window alike and cancels. Volume moves against price, so that the money
        traded stays what it was.
        """
        rows = slice(last_row - lookback + 1, last_row + 1)
        ratio = self.factor[rows] / self.factor[last_row]
        window = self.values[rows].copy()
        window[:, :4] *= ratio[:, None]
        window[:, 4] /= ratio
        return window.astype(np.float32)

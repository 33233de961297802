"""Adjusted prices laid out densely, session by session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from engine.data import Market
from engine.features.market_index import adjusted_close

__all__ = ["PriceGrid"]


@dataclass(frozen=True)
class PriceGrid:
    """Prices [session, ticker], NaN where a ticker has no bar.

    Attributes
    ----------
    sessions
        datetime64[D] [S].
    names
        The market's candidates, sorted; N of them.
    open, close
        f64 [S, N], adjusted.
    last_close
        f64 [S, N]: the close at the session or, without a bar, the last one of the grid before it.
    priced_at
        int32 [S, N]: the row of `last_close`'s bar; −1 before the first.
    last_bar
        datetime64[D] [N]: the ticker's last bar in the market, whatever the grid covers.
    """

    sessions: np.ndarray
    names: pl.Series
    open: np.ndarray
    close: np.ndarray
    last_close: np.ndarray
    priced_at: np.ndarray
    last_bar: np.ndarray

    @staticmethod
    def of(market: Market, sessions: Sequence[date]) -> PriceGrid:
        """The market's bars on `sessions` (ascending, at least one)."""
        days = np.asarray(sessions, dtype="datetime64[D]")
        runs = market.bars["ticker"].rle()
        names = runs.struct.field("value")
        lengths = runs.struct.field("len").to_numpy()
        dates = market.bars["date"].to_numpy()
        columns = np.repeat(np.arange(len(names)), lengths)
        rows = _rows(days, dates)
        known = rows >= 0
        cells = rows[known] * len(names) + columns[known]

        def spread(price: pl.Expr) -> np.ndarray:
            grid = np.full((len(days), len(names)), np.nan)
            grid.ravel()[cells] = market.bars.select(price).to_series().to_numpy()[known]
            return grid

        close = spread(adjusted_close())
        quoted = ~np.isnan(close)
        at = np.where(quoted, np.arange(len(days), dtype=np.int32)[:, None], np.int32(-1))
        priced_at = np.maximum.accumulate(at, axis=0)
        last_close = np.take_along_axis(close, np.maximum(priced_at, 0), axis=0)
        return PriceGrid(
            sessions=days,
            names=names,
            open=spread(pl.col("open") * pl.col("adj_factor")),
            close=close,
            last_close=last_close,
            priced_at=priced_at,
            last_bar=dates[np.cumsum(lengths) - 1],
        )


def _rows(days: np.ndarray, dates: np.ndarray) -> np.ndarray:
    """Index in `days` of each date; −1 for those that are none of them."""
    since = dates.astype(np.int64) - days[0].astype(np.int64)
    calendar = np.full(int((days[-1] - days[0]).astype(np.int64)) + 1, -1)
    calendar[(days - days[0]).astype(np.int64)] = np.arange(len(days))
    inside = (since >= 0) & (since < len(calendar))
    return np.where(inside, calendar[np.where(inside, since, 0)], -1)

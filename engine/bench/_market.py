"""A market of geometric Brownian motions, as large as a benchmark wants it, made in one go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

__all__ = ["brownian_bars"]


def brownian_bars(sessions: Sequence[date], tickers: int, seed: int = 0) -> pl.DataFrame:
    """Daily bars of `tickers` names on `sessions`, 2 % a day, correlated 0.3 through one factor.

    The columns of the bars contract, sorted by (ticker, date).
    """
    rng = np.random.default_rng(seed)
    n = len(sessions)
    common = rng.normal(0, 0.02, n)
    moves = 0.3**0.5 * common + 0.7**0.5 * rng.normal(0, 0.02, (tickers, n))
    close = 50 * np.exp(np.cumsum(moves, axis=1))
    opening = close * np.exp(rng.normal(0, 0.005, close.shape))
    spread = np.exp(np.abs(rng.normal(0, 0.005, close.shape)))
    volume = np.exp(rng.normal(13, 0.5, close.shape)).round()
    names = pl.Series([f"S{i:05d}" for i in range(tickers)])
    days = pl.Series(list(sessions), dtype=pl.Date)
    return pl.DataFrame(
        {
            "date": days.gather(np.tile(np.arange(n), tickers)),
            "ticker": names.gather(np.repeat(np.arange(tickers), n)),
            "open": opening.ravel(),
            "high": (np.maximum(opening, close) * spread).ravel(),
            "low": (np.minimum(opening, close) / spread).ravel(),
            "close": close.ravel(),
            "volume": volume.ravel(),
            "amount": (volume * close).ravel(),
            "adj_factor": np.ones(tickers * n),
        }
    )

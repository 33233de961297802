"""Factors: what is known of a ticker at the close of a date, from its own bars up to it.

Each is an expression over the adjusted closes of one ticker in order of date. Windows count bars.
A factor is null until its window is full. None reads a price level: multiplying a whole price
history by a constant, as a later split or dividend does, changes nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import polars as pl

from engine.errors import UsageError

__all__ = ["FACTORS", "Factor", "adjusted_close", "compute_features"]

Factor = Callable[[int], pl.Expr]
"""Periods a year → expression over the columns `close` (adjusted) and `daily` (simple return)."""


def _momentum(bars: int, _periods_per_year: int) -> pl.Expr:
    """Simple return over `bars` bars (Jegadeesh and Titman, 1993, without their skipped month)."""
    return pl.col("close") / pl.col("close").shift(bars) - 1


def _volatility(bars: int, periods_per_year: int) -> pl.Expr:
    """Sample standard deviation of `bars` daily simple returns, times √(periods a year)."""
    return pl.col("daily").rolling_std(bars, min_samples=bars, ddof=1) * periods_per_year**0.5


FACTORS: Mapping[str, Factor] = MappingProxyType(
    {
        "momentum_1m": partial(_momentum, 21),
        "momentum_3m": partial(_momentum, 63),
        "momentum_6m": partial(_momentum, 126),
        "momentum_12m": partial(_momentum, 252),
        "volatility_20": partial(_volatility, 20),
        "volatility_60": partial(_volatility, 60),
    }
)


def adjusted_close() -> pl.Expr:
    """Recorded close times adj_factor."""
    return pl.col("close") * pl.col("adj_factor")


def compute_features(
    bars: pl.DataFrame, names: Sequence[str], *, periods_per_year: int = 252
) -> pl.DataFrame:
    """Factors at every bar.

    Parameters
    ----------
    bars
        ticker, date, close (as recorded), adj_factor; sorted by (ticker, date).
    names
        Keys of `FACTORS`.
    periods_per_year
        Annualises volatilities: 252, or 365 where every day is a session.

    Returns
    -------
    date, ticker and one f64 column a name, in the order of `bars`.

    Raises
    ------
    UsageError
        A name is no factor.
    """
    for name in names:
        if name not in FACTORS:
            nearest = difflib.get_close_matches(name, FACTORS, n=1, cutoff=0.0)[0]
            raise UsageError(f"features: unknown factor {name!r}; the nearest is {nearest!r}")
    closes = bars.select("date", "ticker", close=adjusted_close())
    daily = (pl.col("close") / pl.col("close").shift(1) - 1).over("ticker")
    return closes.with_columns(daily=daily).select(
        "date",
        "ticker",
        *(FACTORS[name](periods_per_year).over("ticker").alias(name) for name in names),
    )

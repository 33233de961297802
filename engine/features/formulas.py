"""Formulas of the factors: expressions over the bars of one ticker in order of date.

P is the adjusted close, r(t) = P(t)/P(t−1) − 1 its daily return, m(t) the market's return between
the same two bars, V the money traded. Windows count bars, today's the last of them. Where a window
is not full yet, the value is null.
"""

from __future__ import annotations

import polars as pl

__all__ = [
    "amihud",
    "average_daily_volume",
    "beta",
    "drawdown",
    "momentum",
    "reversal",
    "volatility",
    "volatility_of_volatility",
]

_FLAT = 1e-16
"""Variance of daily market returns that is nothing but rounding: no beta against it."""


def momentum(bars: int, skip: int = 0) -> pl.Expr:
    """P(t−skip)/P(t−bars) − 1 (Jegadeesh and Titman, 1993)."""
    close = pl.col("close")
    return (close.shift(skip) if skip else close) / close.shift(bars) - 1


def reversal(bars: int) -> pl.Expr:
    """−(P(t)/P(t−bars) − 1): what fell comes back (Lehmann, 1990)."""
    return -momentum(bars)


def volatility(bars: int, periods_per_year: int) -> pl.Expr:
    """Sample standard deviation of r over `bars` bars, times √(periods a year)."""
    return pl.col("daily").rolling_std(bars, min_samples=bars, ddof=1) * periods_per_year**0.5


def volatility_of_volatility(short: int, bars: int, periods_per_year: int) -> pl.Expr:
    """Sample standard deviation over `bars` bars of the volatility over `short` bars (Baltussen,
    van Bekkum and van der Grient, 2018, who take option-implied volatility)."""
    return volatility(short, periods_per_year).rolling_std(bars, min_samples=bars, ddof=1)


def drawdown(bars: int) -> pl.Expr:
    """P(t)/max(P(t−bars+1) … P(t)) − 1: how far below its high (George and Hwang, 2004)."""
    return pl.col("close") / pl.col("close").rolling_max(bars, min_samples=bars) - 1


def average_daily_volume(bars: int) -> pl.Expr:
    """Mean of V over `bars` bars, in money (ADV; Brennan, Chordia and Subrahmanyam, 1998)."""
    return pl.col("amount").rolling_mean(bars, min_samples=bars)


def beta(bars: int) -> pl.Expr:
    """cov(r, m)/var(m) over `bars` bars (Sharpe, 1964; estimated as by Fama and MacBeth, 1973)."""
    both = pl.col("daily").is_not_null() & pl.col("market").is_not_null()
    r, m = (pl.when(both).then(name) for name in ("daily", "market"))
    variance = m.rolling_var(bars, min_samples=bars, ddof=1)
    covariance = pl.rolling_cov(r, m, window_size=bars, min_samples=bars, ddof=1)
    return pl.when(variance > _FLAT).then(covariance / variance)


def amihud(bars: int) -> pl.Expr:
    """Mean of 10⁶·|r|/V over the bars of the window with V > 0 (Amihud, 2002).

    Null where fewer than two thirds of the window's bars have traded.
    """
    impact = pl.when(pl.col("amount") > 0).then(1e6 * pl.col("daily").abs() / pl.col("amount"))
    mean = impact.rolling_mean(bars, min_samples=bars * 2 // 3)
    return pl.when(pl.col("daily").shift(bars - 1).is_not_null()).then(mean)

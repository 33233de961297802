"""Summary figures of a daily return series."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "annual_return",
    "annual_volatility",
    "max_drawdown",
    "performance_figures",
    "period_sharpe",
    "sharpe",
    "total_return",
]


def performance_figures(
    gross: ArrayLike, net: ArrayLike, *, periods_per_year: int
) -> dict[str, float | None]:
    """The figures of a year of daily returns before and after costs; the drawdown is the net's."""
    return {
        "return_annual_gross": annual_return(gross, periods_per_year=periods_per_year),
        "return_annual_net": annual_return(net, periods_per_year=periods_per_year),
        "volatility_annual": annual_volatility(net, periods_per_year=periods_per_year),
        "sharpe_gross": sharpe(gross, periods_per_year=periods_per_year),
        "sharpe_net": sharpe(net, periods_per_year=periods_per_year),
        "max_drawdown": max_drawdown(net),
    }


def total_return(returns: ArrayLike) -> float | None:
    """Compound return of simple daily returns; None without any."""
    values = np.asarray(returns, dtype=np.float64)
    return float(np.prod(1 + values) - 1) if values.size else None


def annual_return(returns: ArrayLike, *, periods_per_year: int) -> float | None:
    """Geometric mean return a year: (Π(1 + r))^(periods/n) − 1; −1 once everything is lost."""
    values = np.asarray(returns, dtype=np.float64)
    total = total_return(values)
    if total is None:
        return None
    # One session of a large gain annualises beyond what a float holds.
    exponent = math.log(max(1 + total, 0.0) or 1e-300) * periods_per_year / values.size
    return -1.0 if total <= -1 else math.expm1(min(exponent, 700.0))


def annual_volatility(returns: ArrayLike, *, periods_per_year: int) -> float | None:
    """Standard deviation (ddof 1) of daily returns · √periods; None below two returns."""
    values = np.asarray(returns, dtype=np.float64)
    if values.size < 2:
        return None
    return float(values.std(ddof=1) * math.sqrt(periods_per_year))


def sharpe(returns: ArrayLike, *, periods_per_year: int) -> float | None:
    """:func:`period_sharpe` · √periods (Sharpe, 1994).

    No risk-free rate is taken off: the books are self-financing.
    """
    ratio = period_sharpe(returns)
    return None if ratio is None else ratio * math.sqrt(periods_per_year)


def period_sharpe(returns: ArrayLike) -> float | None:
    """Mean / standard deviation (ddof 1), not annualised; None below two or for equal returns."""
    values = np.asarray(returns, dtype=np.float64)
    if values.size < 2 or np.ptp(values) == 0:
        return None
    return float(values.mean() / values.std(ddof=1))


def max_drawdown(returns: ArrayLike) -> float | None:
    """Deepest fall of the equity curve from its highest point so far: 0 or negative (−0.2 = 20 %).

    The curve starts at 1 before the first return. None without any return.
    """
    values = np.asarray(returns, dtype=np.float64)
    if not values.size:
        return None
    equity = np.concatenate([[1.0], np.cumprod(1 + values)])
    return float((equity / np.maximum.accumulate(equity) - 1).min())

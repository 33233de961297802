"""Error bars for a mean of dependent observations.

Labels of neighbouring dates overlap and scores persist, so neighbouring RankICs are not
independent. Two intervals allow for it: ``mean_interval`` (the one the gates use) and
``bootstrap_interval`` beside it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CONFIDENCE",
    "MeanInterval",
    "bootstrap_interval",
    "hac_lag",
    "mean_interval",
    "newey_west_error",
    "series_interval",
    "session_spacing",
]

Floats = NDArray[np.float64]

# What "ci95" means.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class MeanInterval:
    """A mean with its interval. ``lo``, ``hi``, ``t`` are None where they cannot be computed."""

    n: int
    mean: float | None = None
    lo: float | None = None
    hi: float | None = None
    t: float | None = None
    lag: int | None = None
    dof: float | None = None

    @property
    def bounds(self) -> list[float] | None:
        """[lo, hi], or None."""
        return None if self.lo is None or self.hi is None else [self.lo, self.hi]


def session_spacing(dates: Sequence[date] | pl.Series, sessions: Sequence[date]) -> float:
    """Median number of sessions between consecutive ``dates`` (sorted); 1 for fewer than two."""
    if len(dates) < 2:
        return 1.0
    rows = np.searchsorted(_days(tuple(sessions)), np.asarray(dates, dtype="datetime64[D]"))
    return max(float(np.median(np.diff(rows))), 1.0)


@lru_cache(maxsize=4)
def _days(sessions: tuple[date, ...]) -> NDArray[np.datetime64]:
    """The calendar as an array: a judgement asks for dozens of spacings on the same one."""
    return np.asarray(sessions, dtype="datetime64[D]")


def hac_lag(n: int, *, horizon: int, spacing: float) -> int:
    """L = min(n−1, max(⌈1.3√n⌉, 2⌈h/s⌉)): wide enough for overlapping labels and slow scores."""
    return min(n - 1, max(math.ceil(1.3 * math.sqrt(n)), 2 * math.ceil(horizon / spacing)))


def newey_west_error(values: ArrayLike, *, lag: int) -> float:
    """Standard error of the mean with Bartlett weights (Newey and West, 1987).

    No small-sample correction: the widening is in the degrees of freedom of ``mean_interval``.
    """
    x = np.asarray(values, dtype=np.float64)
    centred = x - x.mean()
    n = len(x)
    long_run = centred @ centred
    for k in range(1, lag + 1):
        long_run += 2 * (1 - k / (lag + 1)) * (centred[k:] @ centred[:-k])
    return math.sqrt(max(float(long_run), 0.0)) / n


def mean_interval(values: ArrayLike, *, horizon: int, spacing: float) -> MeanInterval:
    """Mean with a 95% fixed-b interval (Lazarus, Lewis, Stock and Watson, 2018).

    Newey–West error at the lag of :func:`hac_lag` and Student-t quantiles with
    max(2, n/(1.5 L)) degrees of freedom.

    Parameters
    ----------
    values
        One observation a date, in date order, without NaN.
    horizon
        Sessions over which one observation's label runs.
    spacing
        Median sessions between observations (:func:`session_spacing`).

    Returns
    -------
    MeanInterval
        Without values everything is None; with one value there is a mean and no interval. A series
        that does not vary has the interval [mean, mean] and no t.
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if n < 2:
        return MeanInterval(n, float(x[0]) if n else None)
    from scipy.stats import t as student

    mean = float(x.mean())
    lag = hac_lag(n, horizon=horizon, spacing=spacing)
    dof = max(2.0, n / (1.5 * lag))
    if np.ptp(x) == 0:
        return MeanInterval(n, mean, mean, mean, None, lag, dof)
    error = newey_west_error(x, lag=lag)
    half = float(student.ppf((1 + CONFIDENCE) / 2, dof)) * error
    t = mean / error if error > 0 else None
    return MeanInterval(n, mean, mean - half, mean + half, t, lag, dof)


def series_interval(
    series: pl.DataFrame, column: str, *, horizon: int, sessions: Sequence[date]
) -> MeanInterval:
    """:func:`mean_interval` of a column with an asof, one row a date, sorted by it."""
    spacing = session_spacing(series["asof"], sessions)
    return mean_interval(series[column], horizon=horizon, spacing=spacing)


def bootstrap_interval(
    values: ArrayLike,
    *,
    horizon: int,
    spacing: float,
    draws: int,
    seed: int,
    statistic: str = "mean",
) -> list[float] | None:
    """[lo, hi]: 95% percentile interval of a stationary bootstrap (Politis and Romano, 1994).

    Mean block max(2⌈h/s⌉, optimal block of Patton, Politis and White, 2009), at most n.
    ``statistic`` is ``mean`` or ``median``. None with fewer than two values; [v, v] for a series
    that does not vary.
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2 or draws < 1:
        return None
    if np.ptp(x) == 0:
        return [float(x[0])] * 2
    from arch.bootstrap import StationaryBootstrap

    block = min(max(2.0 * math.ceil(horizon / spacing), _optimal_block(x)), float(len(x)))
    function = {"mean": np.mean, "median": np.median}[statistic]
    samples = StationaryBootstrap(block, x, seed=seed).apply(function, draws)[:, 0]
    tail = (1 - CONFIDENCE) / 2
    return [float(bound) for bound in np.quantile(samples, [tail, 1 - tail])]


def _optimal_block(x: Floats) -> float:
    """Optimal mean block length; 1 where the series is too short or too regular to estimate it."""
    from arch.bootstrap import optimal_block_length

    # Its autocovariance regressions need a handful of observations.
    if len(x) < 10:
        return 1.0
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        block = float(optimal_block_length(x)["stationary"].iloc[0])
    return block if math.isfinite(block) else 1.0

"""How strong the planted signal must be for the RankIC that is asked for, and what it realised."""

from __future__ import annotations

from datetime import date
from functools import cache

import numpy as np
import polars as pl
from scipy.stats import rankdata

from engine.config.data import SimulatedSettings
from engine.data.simulated.draws import Randomness
from engine.data.simulated.returns import name_returns, simulate_factors, traits

__all__ = ["planted_strength", "realised_rank_ic"]

# A market of its own, so that no setting of the length or the universe moves the strength.
_SEED = 0x5EED
_NAMES, _SESSIONS, _DATES = 500, 3024, 150
_TOLERANCE = 1e-4


def planted_strength(settings: SimulatedSettings) -> float:
    """Units of the ticker's volatility a session for each unit of the signal.

    Found by bisection on a fixed market of 500 names and twelve years: the mean over its dates of
    Spearman(signal at t, return t to t + horizon), with the mean of the signal's opposite taken
    off, which leaves the effect without the noise of the sample.
    """
    if settings.rank_ic == 0:
        return 0.0
    fixed = {"n_tickers": _NAMES, "listed_at_start": 1.0, "seed": _SEED}
    shape = settings.model_copy(update=fixed | {"rank_ic": 0.0, "end": settings.start})
    return float(np.sign(settings.rank_ic)) * _strength(shape, abs(settings.rank_ic))


@cache
def _strength(shape: SimulatedSettings, rank_ic: float) -> float:
    signal, base, planted = _windows(shape)
    ranked = _ranks(signal)

    def effect(strength: float) -> float:
        up = _correlation(ranked, _ranks(base + strength * planted))
        down = _correlation(ranked, _ranks(base - strength * planted))
        return float((up - down).mean() / 2)

    low, high = 0.0, 1.0
    while effect(high) < rank_ic:
        low, high = high, 2 * high
    middle = (low + high) / 2
    while high - low > 1e-6:
        found = effect(middle)
        if abs(found - rank_ic) < _TOLERANCE:
            break
        low, high = (middle, high) if found < rank_ic else (low, middle)
        middle = (low + high) / 2
    return middle


def _windows(shape: SimulatedSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signal, base return and planted return over the horizon [dates, names]."""
    randomness = Randomness(_SEED)
    numbers = np.arange(_NAMES)
    about = traits(randomness, numbers, shape)
    factors = simulate_factors(randomness, _SESSIONS, shape.sectors)
    returns = name_returns(about, randomness.tickers(numbers, _SESSIONS), factors, shape)
    dates = np.linspace(0, _SESSIONS - 1 - shape.horizon, _DATES).astype(int)
    base, planted = (np.cumsum(x, axis=0) for x in (returns.base, returns.planted))
    ahead = dates + shape.horizon
    # An ended ticker has no return any more: its windows stand for those of a living one.
    living = np.flatnonzero(returns.ending == 0)
    return (
        returns.signal[dates][:, living],
        (base[ahead] - base[dates])[:, living],
        (planted[ahead] - planted[dates])[:, living],
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    return rankdata(values, axis=1)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))


def realised_rank_ic(
    bars: pl.DataFrame, signal: pl.DataFrame, sessions: list[date], horizon: int
) -> pl.DataFrame:
    """asof, rank_ic, n of the signal and the total return over the next `horizon` sessions.

    Bars have date, ticker, close, adj_factor; the signal has date, ticker, signal. Only dates whose
    window ends within the sessions; a ticker that ends inside takes its last price, and one
    without a bar on the date takes no part.
    """
    grid = pl.DataFrame({"date": sessions}).with_row_index("at")
    level = bars.select("date", "ticker", level=pl.col("close") * pl.col("adj_factor"))
    known = level.join(signal, on=["date", "ticker"]).join(grid, on="date")
    last = level.join(grid, on="date").sort("at").select("ticker", "at", later="level")
    windows = known.with_columns(due=pl.col("at") + horizon).filter(pl.col("due") < len(sessions))
    joined = windows.sort("due").join_asof(
        last, left_on="due", right_on="at", by="ticker", check_sortedness=False
    )
    ranked = joined.with_columns(
        a=pl.col("signal").rank().over("date"),
        b=(pl.col("later") / pl.col("level")).rank().over("date"),
    )
    return (
        ranked.group_by("date")
        .agg(rank_ic=pl.corr("a", "b"), n=pl.len())
        .filter(pl.col("n") >= 3)
        .sort("date")
        .rename({"date": "asof"})
    )

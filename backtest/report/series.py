"""From the report's frames to the points that are drawn; interactive and PNG charts share them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from .formatting import is_number

__all__ = [
    "MAX_POINTS",
    "AttributionSeries",
    "Performance",
    "RankICSeries",
    "attribution_series",
    "by_fold",
    "churn_series",
    "condition_threshold",
    "last_weights",
    "performance",
    "period",
    "quantile_means",
    "rank_ic_series",
]

MAX_POINTS = 1500  # a line on a screen shows no more; keeps a long daily run's page small
ROLLING_DATES = {"daily": 63, "weekly": 26, "monthly": 12}


def period(frame: pl.DataFrame, *, in_training: bool) -> pl.DataFrame:
    """Rows of one side of the end of training; a null flag counts as out of sample."""
    return frame.filter(pl.col("in_training").fill_null(False) == in_training)


@dataclass(frozen=True)
class Performance:
    """Compounded return and drawdown by name (gross, net, benchmark); null before a series starts.

    `step` is the number of sessions between two drawn points (1: every session).
    """

    dates: list[date]
    cumulative: dict[str, list[float | None]]
    drawdown: dict[str, list[float | None]]
    step: int


def _compound(returns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wealth and drawdown of daily simple returns; a missing day after the first earns nothing."""
    started = np.maximum.accumulate(np.isfinite(returns))
    wealth = np.cumprod(1 + np.nan_to_num(returns, nan=0.0))
    drawdown = wealth / np.maximum.accumulate(np.maximum(wealth, 1.0)) - 1
    return np.where(started, wealth - 1, np.nan), np.where(started, drawdown, np.nan)


def _kept(length: int, extremes: list[int]) -> tuple[np.ndarray, int]:
    step = max(1, -(-length // MAX_POINTS))
    return np.unique([*range(0, length, step), length - 1, *extremes]), step


def performance(returns: pl.DataFrame, *, in_training: bool = False) -> Performance | None:
    """Compounded curves of the chosen period, or None without a session.

    Long series are thinned to about `MAX_POINTS`; the lowest point of each drawdown and the last
    session are always kept.
    """
    frame = period(returns, in_training=in_training).sort("date")
    if frame.is_empty():
        return None
    curves = {
        name: _compound(frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy())
        for name in ("gross", "net", "benchmark")
        if frame[name].is_not_null().any()
    }
    if not curves:
        return None
    extremes = [int(np.nanargmin(drawdown)) for _, drawdown in curves.values()]
    kept, step = _kept(frame.height, extremes)
    return Performance(
        dates=frame["date"].gather(kept).to_list(),
        cumulative={name: _values(wealth[kept]) for name, (wealth, _) in curves.items()},
        drawdown={name: _values(drawdown[kept]) for name, (_, drawdown) in curves.items()},
        step=step,
    )


def _values(array: np.ndarray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in array]


@dataclass(frozen=True)
class AttributionSeries:
    """Cumulative profit of each leg and cumulative costs, and the book, every `step` sessions."""

    dates: list[date]
    long: list[float | None]
    short: list[float | None]
    cost: list[float | None]
    long_exposure: list[float | None]
    short_exposure: list[float | None]
    turnover: list[float | None]
    beta: list[float | None]
    step: int


def attribution_series(attribution: pl.DataFrame) -> AttributionSeries | None:
    """The daily attribution, thinned to about `MAX_POINTS`; turnover is a thinned span's sum."""
    if attribution.is_empty():
        return None
    frame = attribution.sort("date").with_columns(
        pl.col("long", "short").cum_sum(), cost=-pl.col("cost").cum_sum()
    )
    kept, step = _kept(frame.height, [])
    traded = np.add.reduceat(frame["turnover"].to_numpy(), np.append(0, kept[:-1] + 1))
    rows = frame[kept.tolist()].with_columns(turnover=pl.Series(traded))
    return AttributionSeries(
        dates=rows["date"].to_list(),
        long=rows["long"].to_list(),
        short=rows["short"].to_list(),
        cost=rows["cost"].to_list(),
        long_exposure=rows["long_exposure"].to_list(),
        short_exposure=rows["short_exposure"].to_list(),
        turnover=rows["turnover"].to_list(),
        beta=rows["beta"].to_list(),
        step=step,
    )


@dataclass(frozen=True)
class RankICSeries:
    """RankIC per asof date of one horizon, with a trailing mean over `window` dates (0: none)."""

    dates: list[date]
    values: list[float | None]
    rolling: list[float | None]
    window: int


def rank_ic_series(
    ic: pl.DataFrame, horizon: int, *, rebalance: str | None, in_training: bool = False
) -> RankICSeries | None:
    """Dates with a RankIC, or None when there is none.

    The trailing mean spans a year of monthly, half a year of weekly or a quarter of daily dates,
    at most a quarter of the series, and is left out below three dates.
    """
    frame = (
        period(ic, in_training=in_training)
        .filter((pl.col("horizon") == horizon) & pl.col("rank_ic").is_not_null())
        .sort("asof")
    )
    if frame.is_empty():
        return None
    window = min(ROLLING_DATES.get(rebalance or "", 12), frame.height // 4)
    if window < 3:
        window = 0
    means = frame["rank_ic"].rolling_mean(window).to_list() if window else []
    rolling = means or [None] * frame.height
    return RankICSeries(frame["asof"].to_list(), frame["rank_ic"].to_list(), rolling, window)


def churn_series(
    churn: pl.DataFrame, horizon: int, *, in_training: bool = False
) -> tuple[list[date], list[float]]:
    """Churn at each rebalance that has a previous one."""
    frame = (
        period(churn, in_training=in_training)
        .filter((pl.col("horizon") == horizon) & pl.col("churn").is_not_null())
        .sort("asof")
    )
    return frame["asof"].to_list(), frame["churn"].to_list()


def by_fold(
    net_excess: pl.DataFrame, horizon: int, *, in_training: bool = False
) -> tuple[list[str], list[float]]:
    """Mean net excess of each fold, in order of the folds."""
    frame = (
        period(net_excess, in_training=in_training)
        .filter((pl.col("horizon") == horizon) & pl.col("net_excess").is_not_null())
        .group_by("fold")
        .agg(pl.col("net_excess").mean())
        .sort("fold")
    )
    return frame["fold"].to_list(), frame["net_excess"].to_list()


def quantile_means(
    quantiles: pl.DataFrame, horizon: int, *, in_training: bool = False
) -> tuple[list[int], list[float | None]]:
    """Mean label of each score quantile, lowest scores first."""
    frame = (
        period(quantiles, in_training=in_training)
        .filter(pl.col("horizon") == horizon)
        .sort("quantile")
    )
    return frame["quantile"].to_list(), frame["mean_label"].to_list()


def last_weights(weights: pl.DataFrame) -> pl.DataFrame:
    """Non-zero weights of the last rebalance, largest first; ties by ticker."""
    return weights.filter(
        (pl.col("asof") == pl.col("asof").max()) & (pl.col("weight").fill_null(0.0) != 0)
    ).sort(["weight", "ticker"], descending=[True, False])


def condition_threshold(gates: dict[str, Any], gate: str, word: str) -> float | None:
    """The threshold of the first condition of `gate` whose name contains `word`, if any.

    A condition made of others ("on at least 2 horizons") is passed over: its threshold is a count.
    """
    for entry in gates.get("gates") or []:
        if entry.get("name") != gate:
            continue
        conditions = entry.get("conditions") or []
        wholes = {condition.get("part_of") for condition in conditions}
        for condition in conditions:
            name, threshold = str(condition.get("name", "")), condition.get("threshold")
            if name not in wholes and word in name.lower() and is_number(threshold):
                return float(threshold)
    return None

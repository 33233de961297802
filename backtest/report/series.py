"""From the report's frames to the points that are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from .formatting import is_number

__all__ = [
    "MAX_POINTS",
    "attribution_series",
    "by_fold",
    "condition_threshold",
    "dated_series",
    "last_weights",
    "performance",
    "quantile_means",
    "rank_ic_series",
    "thinned",
]

MAX_POINTS = 1000  # a line on a screen shows no more; keeps a long daily run's page small
ROLLING_DATES = {"daily": 63, "weekly": 26, "monthly": 12}


def _period(frame: pl.DataFrame, *, in_training: bool) -> pl.DataFrame:
    """Rows of one side of the end of training; a null flag counts as out of sample."""
    return frame.filter(pl.col("in_training").fill_null(False) == in_training)


def _compound(returns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wealth and drawdown of daily simple returns; a missing day after the first earns nothing."""
    started = np.maximum.accumulate(np.isfinite(returns))
    wealth = np.cumprod(1 + np.nan_to_num(returns, nan=0.0))
    drawdown = wealth / np.maximum.accumulate(np.maximum(wealth, 1.0)) - 1
    return np.where(started, wealth - 1, np.nan), np.where(started, drawdown, np.nan)


def _kept(length: int, extremes: list[int]) -> tuple[np.ndarray, int]:
    step = max(1, -(-length // (MAX_POINTS - 4)))
    return np.unique([*range(0, length, step), length - 1, *extremes]), step


def thinned(frame: pl.DataFrame) -> pl.DataFrame:
    """At most `MAX_POINTS` rows, evenly spread, the last among them."""
    return frame[_kept(frame.height, [])[0].tolist()]


def performance(
    returns: pl.DataFrame, *, in_training: bool = False
) -> tuple[pl.DataFrame, int] | None:
    """Compounded curves of the chosen period, or None without a session.

    Returns
    -------
    tuple
        A frame with date and, of gross, net and benchmark where known, the return so far and
        ``…_drawdown``, null before a series starts; and the sessions from one row to the next.
        The lowest point of each drawdown and the last session are always kept.
    """
    frame = _period(returns, in_training=in_training).sort("date")
    names = [n for n in ("net", "gross", "benchmark") if frame[n].is_not_null().any()]
    if not names:
        return None
    columns: dict[str, Any] = {"date": frame["date"]}
    for name in names:
        daily = frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        columns[name], columns[f"{name}_drawdown"] = _compound(daily)
    lowest = [int(np.nanargmin(columns[f"{name}_drawdown"])) for name in names]
    kept, step = _kept(frame.height, lowest)
    return pl.DataFrame(columns, nan_to_null=True)[kept.tolist()], step


def attribution_series(attribution: pl.DataFrame) -> tuple[pl.DataFrame, int] | None:
    """The daily attribution with cumulative profits and costs, and the sessions from one row to
    the next; turnover is the sum over the sessions between. None without a session.
    """
    if attribution.is_empty():
        return None
    frame = attribution.sort("date").with_columns(
        pl.col("long", "short").cum_sum(), cost=-pl.col("cost").cum_sum()
    )
    kept, step = _kept(frame.height, [])
    traded = np.add.reduceat(frame["turnover"].to_numpy(), np.append(0, kept[:-1] + 1))
    return frame[kept.tolist()].with_columns(turnover=pl.Series(traded)), step


def dated_series(frame: pl.DataFrame, value: str, horizon: int) -> pl.DataFrame:
    """asof and `value` of the judged dates of a horizon that have one, in order.

    Of a long series the lowest and the highest of every stretch are kept.
    """
    rows = (
        _period(frame, in_training=False)
        .filter(pl.col("horizon") == horizon, pl.col(value).is_not_null())
        .sort("asof")
        .select("asof", value)
    )
    if rows.height <= MAX_POINTS:
        return rows
    stretch = pl.int_range(pl.len()) // -(-rows.height // (MAX_POINTS // 2))
    size = pl.col(value)
    ends = [rows.filter(size == end.over(stretch)) for end in (size.min(), size.max())]
    return pl.concat(ends).unique("asof").sort("asof")


def rank_ic_series(
    ic: pl.DataFrame, horizon: int, *, rebalance: str | None
) -> tuple[pl.DataFrame, int]:
    """asof and the trailing mean of the RankIC over so many dates; 0 dates: too few for one.

    The mean spans a year of monthly, half a year of weekly or a quarter of daily dates, at most a
    quarter of the series, and is left out below three dates.
    """
    rows = (
        _period(ic, in_training=False)
        .filter(pl.col("horizon") == horizon, pl.col("rank_ic").is_not_null())
        .sort("asof")
    )
    window = min(ROLLING_DATES.get(rebalance or "", 12), rows.height // 4)
    if window < 3:
        return rows.clear().select("asof", mean="rank_ic"), 0
    means = rows.select("asof", mean=pl.col("rank_ic").rolling_mean(window))
    return thinned(means), window


def by_fold(net_excess: pl.DataFrame, horizon: int) -> pl.DataFrame:
    """fold and its mean net excess, in order of the folds."""
    return (
        _period(net_excess, in_training=False)
        .filter(pl.col("horizon") == horizon, pl.col("net_excess").is_not_null())
        .group_by("fold")
        .agg(pl.col("net_excess").mean())
        .sort("fold")
    )


def quantile_means(quantiles: pl.DataFrame, horizon: int) -> pl.DataFrame:
    """quantile and its mean label, lowest scores first."""
    rows = _period(quantiles, in_training=False).filter(pl.col("horizon") == horizon)
    return rows.select("quantile", "mean_label").sort("quantile")


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

"""Market regimes at an asof, from prices up to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from engine.data import Market
from engine.features.index import attach_known, equal_weight_index

__all__ = ["classify_regimes"]

_WINDOW = 252
_SHORT = 20
_LOW, _HIGH = 33.0, 67.0


def classify_regimes(market: Market, asofs: Sequence[date]) -> pl.DataFrame:
    """Volatility and trend regime of each asof.

    - volatility: percentile of today's value among the last 252 values (ties count half) of the
      volatility index or, without one, of the benchmark's realised volatility over 20 sessions:
      low ≤ 33 < mid ≤ 67 < high.
    - trend: benchmark return over 20 sessions > 0 is bull, else bear.

    Without a benchmark, an index of the members' equal-weight daily returns takes its place.

    Returns
    -------
    asof, volatility_regime (low, mid, high), trend_regime (bull, bear), one row a distinct asof,
    sorted. Null where the history is too short, or ended before the asof (`index.MAX_AGE`).
    """
    index = market.benchmark
    if index is None:
        index = equal_weight_index(market.bars, market.members)
    if market.volatility_index is not None:
        volatility = market.volatility_index.select("date", value="close")
    else:
        volatility = index.select("date", value=_realised_volatility())
    percentile = volatility.select(
        "date",
        percentile=100
        * pl.col("value").rolling_rank(_WINDOW, "average", min_samples=_WINDOW)
        / _WINDOW,
    )
    trend = index.select("date", change=pl.col("close") / pl.col("close").shift(_SHORT) - 1)
    frame = pl.DataFrame({"asof": sorted(set(asofs))}, schema={"asof": pl.Date})
    frame = attach_known(frame, percentile, on="asof", percentile="percentile")
    frame = attach_known(frame, trend, on="asof", change="change")
    rank, change = pl.col("percentile"), pl.col("change")
    return frame.select(
        "asof",
        volatility_regime=pl.when(rank <= _LOW)
        .then(pl.lit("low"))
        .when(rank <= _HIGH)
        .then(pl.lit("mid"))
        .when(rank > _HIGH)
        .then(pl.lit("high")),
        trend_regime=pl.when(change > 0)
        .then(pl.lit("bull"))
        .when(change <= 0)
        .then(pl.lit("bear")),
    )


def _realised_volatility() -> pl.Expr:
    daily = pl.col("close") / pl.col("close").shift(1) - 1
    return daily.rolling_std(_SHORT, min_samples=_SHORT, ddof=1)

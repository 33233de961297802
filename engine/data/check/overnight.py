"""What a ticker's bars looked like just before and just after each bar.

Windows count bars. The columns behind `_ahead` read later bars, which an audit of history may do
and a backtest may not: nothing outside the audit imports this.
"""

from __future__ import annotations

import polars as pl

from engine.data.contract import PRICES

__all__ = ["daily_bars", "overnight"]

USUAL = 60
VALUE_WINDOW = 20
AHEAD = 5
CROWD = 10
# The median of |x| of a normal x is 0.6745 standard deviations.
_SIGMA = 1.4826


def daily_bars(bars: pl.DataFrame) -> pl.DataFrame:
    """One adjusted bar a (ticker, date), sorted: date, ticker, open, high, low, close, volume.

    `bars` are kept rows, daily or intraday. Prices are multiplied by adj_factor and volume is
    divided by it, so that what the factor explains is no jump.
    """
    factor = pl.col("adj_factor")
    adjusted = bars.select(
        "ticker",
        "date",
        *(pl.col(name) * factor for name in PRICES),
        pl.col("volume") / factor,
    )
    if "ts" not in bars.columns:
        return adjusted
    return adjusted.group_by("ticker", "date", maintain_order=True).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
    )


def overnight(daily: pl.DataFrame) -> pl.DataFrame:
    """Daily bars with what stood before them and what followed.

    Adds `previous` (close), `jump` = log(open / previous) beyond the median ticker of the date
    (which takes out a day of bad news for all), `crowd_jump` (robust standard deviation of the
    tickers' jumps on that date), `usual_jump` (the same of the ticker's 60 before), `value_ratio`
    (close × volume over its median of the 20 before; null where volume is unknown), `earlier`
    (median of the five closes before), `later` (of this and the next four) and `usual_range`
    (median high / low − 1 of the 60 before).
    """
    by_ticker = daily.lazy().with_columns(
        previous=pl.col("close").shift(1).over("ticker"),
        value=pl.col("close") * pl.col("volume"),
        spread=pl.col("high") / pl.col("low") - 1,
    )
    by_ticker = by_ticker.with_columns(jump=(pl.col("open") / pl.col("previous")).log())
    crowd = pl.col("jump").is_not_null().sum().over("date") >= CROWD
    beyond = pl.col("jump") - pl.col("jump").median().over("date")
    by_ticker = by_ticker.with_columns(
        jump=pl.when(crowd).then(beyond).otherwise("jump"),
        crowd_jump=pl.when(crowd).then(_SIGMA * beyond.abs().median().over("date")),
    )
    some = USUAL // 3
    return (
        by_ticker.with_columns(
            usual_jump=_SIGMA * _before(pl.col("jump").abs(), USUAL, some),
            usual_value=_before(pl.col("value"), VALUE_WINDOW, VALUE_WINDOW // 4),
            usual_range=_before(pl.col("spread"), USUAL, some),
            earlier=_before(pl.col("close"), AHEAD, 1),
            later=pl.col("close")
            .rolling_median(AHEAD, min_samples=1)
            .shift(1 - AHEAD)
            .fill_null(pl.col("close").last())
            .over("ticker"),
        )
        .with_columns(
            value_ratio=pl.when(pl.col("usual_value") > 0).then(
                pl.col("value") / pl.col("usual_value")
            )
        )
        .collect()
    )


def _before(quantity: pl.Expr, bars: int, at_least: int) -> pl.Expr:
    """The median of the bars before each, null with fewer than `at_least`."""
    return quantity.rolling_median(bars, min_samples=at_least).shift(1).over("ticker")

"""Splits and distributions that the prices were not adjusted for.

A split n:1 divides the price by n overnight and multiplies the number of shares traded by about n,
so the value traded stays what it was. A crash of the same size comes with many times the usual
value (Apple, 2000-09-29: half the price, 22 times the shares). That is what tells them apart; the
ratio alone does not.

`overnight` puts beside each bar what stood before it and what followed. Its windows count bars. The
columns behind `_ahead` read later bars, which an audit of history may do and a backtest may not:
nothing outside the audit imports this.
"""

from __future__ import annotations

import polars as pl

from engine.data.check.findings import found
from engine.data.check.limits import DistributionLimits, SplitLimits, load_limits
from engine.data.contract import PRICES

__all__ = ["SPLITS", "daily_bars", "detect_splits", "distributions", "overnight", "splits"]

SPLITS = pl.Schema({"ticker": pl.String, "date": pl.Date, "ratio": pl.Float64})

# Shares after for each share before. Reverse splits are one for a whole number.
_WHOLE = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50, 100)
_RATIOS = (*map(float, _WHOLE), *(1.0 / n for n in _WHOLE), 5 / 2, 3 / 2, 4 / 3, 5 / 4)

USUAL = 60
VALUE_WINDOW = 20
AHEAD = 5
CROWD = 10
# The median of |x| of a normal x is 0.6745 standard deviations.
_SIGMA = 1.4826


def detect_splits(bars: pl.DataFrame, limits: SplitLimits | None = None) -> pl.DataFrame:
    """Splits that the bars are not adjusted for.

    Parameters
    ----------
    bars
        ticker, date, open, high, low, close and, where known, volume and adj_factor; sorted by
        (ticker, date). Prices as recorded; a jump that adj_factor explains is no finding.
    limits
        By default those of `configs/check.yaml`.

    Returns
    -------
    ticker, date (the first session at the new price) and ratio: shares after for each share before
    (2.0 for a 2:1 split, 0.1 for a reverse split 1:10). Earlier prices divided by it, and earlier
    volumes multiplied, are on the new basis.
    """
    absent = {"volume": pl.lit(None, dtype=pl.Float64), "adj_factor": pl.lit(1.0)}
    given = bars.with_columns(
        **{name: value for name, value in absent.items() if name not in bars.columns}
    )
    return splits(overnight(daily_bars(given)), limits or load_limits().split).select(*SPLITS)


def splits(around: pl.DataFrame, limits: SplitLimits) -> pl.DataFrame:
    """`SPLITS` with previous, open and value_ratio, from the frame of `overnight`."""
    jump, ratio = pl.col("jump"), pl.col("ratio")
    smallest = pl.Series(_RATIOS).log().abs().min()
    near = around.filter(jump.abs() > smallest - limits.tolerance)  # type: ignore[operator]
    off = (jump + ratio.log()).abs()
    is_small = pl.max_horizontal(ratio, 1 / ratio) < limits.small
    most = pl.when(is_small).then(limits.small_tolerance).otherwise(limits.tolerance)
    value = pl.when(is_small).then(limits.small_value_ratio).otherwise(limits.value_ratio)
    least = pl.when(is_small).then(1 / limits.small_value_ratio).otherwise(0.0)
    held = ((pl.col("later") / pl.col("earlier")).log() + ratio.log()).abs()
    return (
        near.join(pl.DataFrame({"ratio": _RATIOS}), how="cross")
        .with_columns(off=off)
        .filter(
            pl.col("off") <= most,
            jump.abs() >= limits.sigmas * pl.col("usual_jump").fill_null(0.0),
            pl.col("value_ratio").is_between(least, value).fill_null(~is_small),
            held <= limits.persistence,
        )
        .sort("ticker", "date", "off")
        .unique(["ticker", "date"], keep="first", maintain_order=True)
        .select(*SPLITS, "previous", "open", "value_ratio")
    )


def distributions(around: pl.DataFrame, limits: DistributionLimits) -> pl.DataFrame:
    """ticker, date, previous, open, drop, value_ratio of dividend and spin-off suspects.

    `drop` is the overnight loss beyond the median ticker of the date. Bars that are a split's are
    the caller's to remove.
    """
    drop = 1 - pl.col("jump").exp()
    widest = pl.max_horizontal(
        limits.sigmas * pl.col("usual_jump"), limits.crowd_sigmas * pl.col("crowd_jump")
    )
    lost, previous = pl.col("previous") - pl.col("open"), pl.col("previous")
    kept = previous - pl.max_horizontal("close", "later")
    return (
        around.with_columns(drop=drop)
        .filter(
            pl.col("drop") >= limits.drop,
            pl.col("jump") <= -widest,
            pl.col("value_ratio") <= limits.value_ratio,
            kept >= limits.kept * lost,
        )
        .select("ticker", "date", "previous", "open", "drop", "value_ratio")
        .sort("ticker", "date")
    )


def split_findings(split: pl.DataFrame) -> pl.DataFrame:
    """A finding for each of `splits`."""
    ratio = pl.col("ratio")
    text = (
        pl.when(ratio < 1)
        .then(pl.format("1:{}", (1 / ratio).round(0).cast(pl.Int64)))
        .when(ratio == ratio.round(0))
        .then(pl.format("{}:1", ratio.cast(pl.Int64)))
        .otherwise(pl.format("{}:1", ratio.round(3)))
    )
    value = pl.format(", value traded {} × its median", pl.col("value_ratio").round(2))
    return found(
        split,
        "unadjusted-split",
        pl.format(
            "looks like a split {}: close {}, then open {}{}",
            text,
            pl.col("previous").round_sig_figs(6),
            pl.col("open").round_sig_figs(6),
            value.fill_null(", volume unknown"),
        ),
    )


def distribution_findings(paid: pl.DataFrame) -> pl.DataFrame:
    """A finding for each of `distributions`."""
    return found(
        paid,
        "unadjusted-distribution",
        pl.format(
            "opens {}% lower on {} × the usual value: close {}, then open {}",
            (pl.col("drop") * 100).round(1),
            pl.col("value_ratio").round(2),
            pl.col("previous").round_sig_figs(6),
            pl.col("open").round_sig_figs(6),
        ),
    )


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

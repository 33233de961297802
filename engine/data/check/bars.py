"""Rules about single bars: nothing traded, repeated, or an extreme range."""

from __future__ import annotations

import polars as pl

from engine.data.check.findings import found
from engine.data.check.limits import RangeLimits, StaleLimits
from engine.data.contract import PRICES

__all__ = ["extreme_range", "order", "stale", "zero_volume"]


def order(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that go back in time within their source and ticker, one finding a ticker."""
    time = "ts" if "ts" in rows.columns else "date"
    back = (pl.col(time) < pl.col(time).shift(1)).over("source", "ticker")
    late = rows.filter(back & pl.col("ticker").is_not_null())
    each = late.group_by("ticker", maintain_order=True).agg(pl.col("date").first(), n=pl.len())
    return found(
        each, "order", pl.format("{} rows are before the one above; sorted on import", "n")
    )


def zero_volume(daily: pl.DataFrame) -> pl.DataFrame:
    """Bars without volume of a ticker that otherwise trades; an index never does."""
    silent = (pl.col("volume") == 0).fill_null(False)
    traded = (pl.col("volume") > 0).mean().over("ticker")
    rows = daily.filter(silent & (traded > 0.5))
    text = pl.format("volume 0, close {}", _price("close"))
    return found(rows, "zero-volume", text)


def stale(bars: pl.DataFrame, limits: StaleLimits) -> pl.DataFrame:
    """Bars that repeat the one before, bars that did not move, and runs of one close.

    A run is one finding, at its first repeated bar. `bars` have one row a (ticker, date) or ts.
    """
    last = {name: pl.col(name).shift(1).over("ticker") for name in PRICES}
    close = pl.col("close")
    repeats = pl.all_horizontal(pl.col(name) == last[name] for name in PRICES)
    still = pl.all_horizontal(pl.col(name) == last["close"] for name in PRICES)
    marked = bars.with_columns(
        _same=(close == last["close"]).fill_null(False),
        _copy=(repeats | still).fill_null(False),
    ).with_columns(_run=(~pl.col("_same")).cum_sum().over("ticker"))
    # A run begins with the bar that moved to its close: it has one more bar than repeats.
    runs = (
        marked.filter("_same")
        .group_by("ticker", "_run", maintain_order=True)
        .agg(
            pl.col("date").first(),
            close.first(),
            n=pl.len() + 1,
            copies=pl.col("_copy").sum(),
            until=pl.col("date").last(),
            first_copy=pl.col("date").filter("_copy").first(),
        )
        .filter((pl.col("n") >= limits.run) | (pl.col("copies") > 0))
    )
    long = pl.col("n") >= limits.run
    text = (
        pl.when(long)
        .then(pl.format("{} closes in a row at {}, to {}", "n", _price("close"), "until"))
        .when(pl.col("copies") > 1)
        .then(pl.format("{} bars repeat the one before, close {}", "copies", _price("close")))
        .otherwise(pl.format("the bar repeats the one before, close {}", _price("close")))
    )
    runs = runs.with_columns(date=pl.when(long).then("date").otherwise("first_copy"))
    return found(runs, "stale", text)


def extreme_range(around: pl.DataFrame, limits: RangeLimits) -> pl.DataFrame:
    """Bars whose high and low lie far apart, or far from open and close."""
    body = (pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close"))
    above, below = pl.col("high") / body[0] - 1, body[1] / pl.col("low") - 1
    spread, usual = pl.col("spread"), pl.col("usual_range")
    unusual = (spread >= limits.usual_range) & (spread >= limits.usual * usual)
    rows = around.filter(
        (spread > limits.range)
        | (pl.max_horizontal(above, below) > limits.wick)
        | unusual.fill_null(False)
    )
    text = pl.format(
        "low {} to high {}, {}% apart; open {}, close {}",
        _price("low"),
        _price("high"),
        (spread * 100).round(0).cast(pl.Int64),
        _price("open"),
        _price("close"),
    )
    return found(rows, "extreme-range", text)


def _price(name: str) -> pl.Expr:
    return pl.col(name).round_sig_figs(6)

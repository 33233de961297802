"""The market beside a ticker: the index of all candidates, and the last level known at a date."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from engine.data.membership import is_member

__all__ = ["MAX_AGE", "adjusted_close", "attach_known", "equal_weight_index"]

MAX_AGE = timedelta(days=12)
"""An older value is not known any more.

Longer than any exchange's holidays (Shanghai closed for 11 days in 2020). Without a limit, a
benchmark that ended would return 0 ever after, and labels would silently become total returns.
"""


def adjusted_close() -> pl.Expr:
    """Recorded close times adj_factor."""
    return pl.col("close") * pl.col("adj_factor")


def equal_weight_index(bars: pl.DataFrame, members: pl.DataFrame | None = None) -> pl.DataFrame:
    """date, close: an index that earns the mean daily return of the tickers trading that day.

    `bars` has date, ticker, close (as recorded), adj_factor; sorted by (ticker, date). With
    `members` (ticker, from, to) a ticker counts on the dates it is a member: who has bars because
    it joined later would bring the hindsight of joining.
    """
    closes = bars.select("date", "ticker", close=adjusted_close())
    earned = (pl.col("close") / pl.col("close").shift(1) - 1).over("ticker")
    daily = closes.with_columns(daily=earned)
    if members is not None:
        inside = is_member(daily.select("ticker", asof="date"), members)
        daily = daily.with_columns(daily=pl.when(inside).then("daily"))
    mean = daily.group_by("date").agg(pl.col("daily").mean()).sort("date")
    return mean.select("date", close=(1 + pl.col("daily").fill_null(0.0)).cum_prod())


def attach_known(
    frame: pl.DataFrame, series: pl.DataFrame, *, on: str, **columns: str
) -> pl.DataFrame:
    """`frame` with columns of `series` at the last date at or before the dates in `on`.

    Parameters
    ----------
    frame
        Any order; kept.
    series
        One row a date, sorted by the column `date`.
    on
        The column of `frame` that holds dates.
    columns
        Name in the result → column of `series`. Null where no value is at most `MAX_AGE` old.
    """
    assert series["date"].is_sorted(), "join_asof needs sorted dates"
    dates = frame.select(on).unique().sort(on)
    known = dates.join_asof(
        series.select("date", **columns),
        left_on=on,
        right_on="date",
        strategy="backward",
        tolerance=MAX_AGE,
    )
    return frame.join(known.select(on, *columns), on=on, how="left", maintain_order="left")

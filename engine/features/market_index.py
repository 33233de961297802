"""The candidates as one series: adjusted prices, and the index that holds all alike."""

from __future__ import annotations

import polars as pl

from engine.data.membership import is_member

__all__ = ["adjusted_close", "equal_weight_index"]


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

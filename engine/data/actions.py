"""Splits and dividends, as factors that adjust prices.

1. `action_factors` gives each action its own factor: a split of r new shares per old one makes an
   old share worth r of the prices after it; a dividend D, taken at the close P before it,
   P / (P - D), the method of CRSP.
2. `with_factors` gives each bar the running product of the actions up to its date. It knows
   nothing of later ones: price × factor(t) / factor(asof) is the price of t in the money of asof.
3. A ticker whose source recorded factors keeps those; its actions are information.
"""

from __future__ import annotations

import polars as pl

__all__ = ["action_factors", "with_factors"]


def action_factors(bars: pl.DataFrame, actions: pl.DataFrame) -> pl.DataFrame:
    """`actions` with a column `factor`, sorted by ticker, date and kind.

    Parameters
    ----------
    bars
        ticker, date, close, adj_factor of the tickers of `actions`, sorted by ticker and time.
    actions
        As in `SourceData.actions`. The factor is 1 where `in_prices`, where the ticker has
        recorded factors, and for a dividend without a greater close before it.
    """
    if actions.is_empty():
        return actions.with_columns(factor=pl.lit(None, dtype=pl.Float64))
    recorded = bars.filter(pl.col("adj_factor") != 1)["ticker"].unique().implode()
    closes = bars.group_by("ticker", "date", maintain_order=True).agg(before=pl.col("close").last())
    applies = ~pl.col("in_prices") & ~pl.col("ticker").is_in(recorded)
    before, value = pl.col("before"), pl.col("value")
    return (
        actions.sort("date")
        .join_asof(
            closes.sort("date"),
            on="date",
            by="ticker",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .with_columns(
            factor=pl.when(applies & (pl.col("kind") == "split"))
            .then(value)
            .when(applies & (before > value).fill_null(False))
            .then(before / (before - value))
            .otherwise(1.0)
        )
        .drop("before")
        .sort("ticker", "date", "kind")
    )


def with_factors(bars: pl.DataFrame, actions: pl.DataFrame) -> pl.DataFrame:
    """`bars` with the factor of the actions in `adj_factor`, where actions are to be applied.

    Parameters
    ----------
    bars
        Sorted by ticker and time.
    actions
        ticker, date, factor: each action's own factor; 1 where the recorded prices or the
        recorded adj_factor hold it already.
    """
    steps = actions.filter(pl.col("factor") != 1)
    if steps.is_empty() or bars.is_empty():
        return bars
    running = (
        steps.group_by("ticker", "date")
        .agg(pl.col("factor").product())
        .sort("ticker", "date")
        .select("ticker", "date", _factor=pl.col("factor").cum_prod().over("ticker"))
    )
    days = bars.select("ticker", "date").unique().sort("ticker", "date")
    affected = days.filter(pl.col("ticker").is_in(running["ticker"].unique().implode()))
    found = affected.sort("date").join_asof(
        running.sort("date"), on="date", by="ticker", check_sortedness=False
    )
    return (
        bars.join(found, on=["ticker", "date"], how="left", maintain_order="left")
        .with_columns(adj_factor=pl.col("adj_factor") * pl.col("_factor").fill_null(1.0))
        .drop("_factor")
    )

"""Prices adjusted for splits and dividends.

The factor of a bar is the running product of the actions up to its date (`store.export`), or the
one its source recorded. Only ratios of factors mean anything: price × factor(t) / factor(asof) is
the price of t in the money of asof, and no action after asof enters it.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from engine.data.contract import PRICES

__all__ = ["Adjusted", "adjust", "with_factors"]

Adjusted = Literal[True, False, "asof"]


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
    found = affected.sort("date").join_asof(running.sort("date"), on="date", by="ticker")
    return (
        bars.join(found, on=["ticker", "date"], how="left", maintain_order="left")
        .with_columns(adj_factor=pl.col("adj_factor") * pl.col("_factor").fill_null(1.0))
        .drop("_factor")
    )


def adjust(bars: pl.DataFrame, base: pl.DataFrame | None = None) -> pl.DataFrame:
    """Prices times adj_factor, volume divided by it, and adj_factor 1.

    `base` (ticker, base) is the factor to divide by: that of the date whose money is meant. Money
    traded (`amount`) is what it was.
    """
    factor = pl.col("adj_factor")
    if base is not None:
        bars = bars.join(base, on="ticker", how="left", maintain_order="left")
        factor = factor / pl.col("base").fill_null(1.0)
    adjusted = bars.with_columns(
        *(pl.col(name) * factor for name in PRICES),
        pl.col("volume") / factor,
        adj_factor=pl.lit(1.0),
    )
    return adjusted.drop("base", strict=False)

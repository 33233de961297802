"""Weigh: how much of each selected name."""

from __future__ import annotations

import polars as pl

__all__ = ["equal_weights_by_leg"]


def equal_weights_by_leg(selected: pl.DataFrame, *, gross: float) -> pl.DataFrame:
    """Dollar-neutral weights: each leg holds gross/2, equally divided among its names.

    Takes asof, ticker, side (+1, −1, 0) and returns asof, ticker, weight with one row for every row
    taken. The book of a date sums to 0 and its absolute weights to ``gross`` when both legs hold
    names.
    """
    in_leg = pl.len().over("asof", "side")
    weight = pl.when(pl.col("side") == 0).then(0.0).otherwise(pl.col("side") * (gross / 2) / in_leg)
    return selected.select("asof", "ticker", weight=weight.cast(pl.Float64))

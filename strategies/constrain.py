"""Constrain: what no book may break."""

from __future__ import annotations

import polars as pl

__all__ = ["check_weights"]

_TOLERANCE = 1e-9


def check_weights(weights: pl.DataFrame, *, gross: float) -> pl.DataFrame:
    """Returns the weights unchanged, sorted by (asof, ticker), if they are a valid book.

    Raises ValueError naming the date (and ticker) when a weight is null, NaN or infinite, when a
    (asof, ticker) pair is repeated, or when Σ|w| of a date exceeds ``gross``.
    """
    weights = weights.sort("asof", "ticker")
    bad = weights.filter(pl.col("weight").is_null() | ~pl.col("weight").is_finite())
    if bad.height:
        row = bad.row(0, named=True)
        raise ValueError(
            f"weight of {row['ticker']} on {row['asof']} is {row['weight']}: weights must be finite"
        )
    repeated = weights.filter(pl.struct("asof", "ticker").is_duplicated())
    if repeated.height:
        row = repeated.row(0, named=True)
        raise ValueError(f"{row['ticker']} has more than one weight on {row['asof']}")
    exposure = weights.group_by("asof", maintain_order=True).agg(pl.col("weight").abs().sum())
    over = exposure.filter(pl.col("weight") > gross * (1 + _TOLERANCE))
    if over.height:
        asof, total = over.row(0)
        raise ValueError(
            f"weights on {asof}: sum of |weight| is {total:.6g}, above strategy.gross {gross:g}"
        )
    return weights

"""Folds: the calendar months of asof dates."""

from __future__ import annotations

import polars as pl

__all__ = ["fold_of"]


def fold_of(asof: str | pl.Expr = "asof") -> pl.Expr:
    """The fold "YYYY-MM" of a date column or expression."""
    day = pl.col(asof) if isinstance(asof, str) else asof
    return day.dt.strftime("%Y-%m")

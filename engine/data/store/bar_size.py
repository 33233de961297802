"""How long the bars of a frame are."""

from __future__ import annotations

import polars as pl

from engine.data.store.tables import DAILY
from engine.errors import UsageError

__all__ = ["bar_size"]


def bar_size(rows: pl.DataFrame, what: str) -> str:
    """ "1d" for daily bars, else minutes as "5m": the most frequent step within a ticker's day.

    Raises
    ------
    UsageError
        No two bars of a ticker and day are whole minutes apart.
    """
    if "ts" not in rows.columns:
        return DAILY
    steps = (
        rows.select("ticker", "ts", "date")
        .drop_nulls()
        .unique()
        .sort("ticker", "ts")
        .select(step=pl.col("ts").diff().over("ticker", "date").dt.total_seconds())
        .drop_nulls()
        .filter(pl.col("step") % 60 == 0)
        .group_by("step")
        .len()
        .sort("len", -pl.col("step"), descending=True)
    )
    if steps.is_empty():
        raise UsageError(
            f"{what}: the length of its bars cannot be told from their times; "
            "give it as --data.bar 5m"
        )
    return f"{steps['step'][0] // 60}m"

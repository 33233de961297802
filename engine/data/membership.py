"""Point-in-time universes: a ticker is a candidate only while it is a member."""

from __future__ import annotations

import polars as pl

__all__ = ["NOT_A_MEMBER", "is_member", "only_members"]

NOT_A_MEMBER = "score of a ticker that was no member of the universe"


def only_members(windows: pl.DataFrame, members: pl.DataFrame | None) -> pl.DataFrame:
    """The rows of `windows` (asof, ticker, …) whose ticker is a member at the asof, in order.

    Parameters
    ----------
    members
        ticker, from, to: both ends inclusive, null `to` for still. None: every ticker always. A
        span that begins after an asof, or ends after it, says nothing about that asof.
    """
    if members is None:
        return windows
    inside = is_member(windows.select("asof", "ticker"), members)
    return windows.filter(inside)


def is_member(rows: pl.DataFrame, members: pl.DataFrame) -> pl.Series:
    """Boolean, one a row of `rows` (asof, ticker)."""
    asof = pl.col("asof")
    keys = rows.select("asof", pl.col("ticker").cast(pl.String))
    found = (
        keys.unique()
        .join(members, on="ticker")
        .filter(pl.col("from") <= asof, pl.col("to").is_null() | (asof <= pl.col("to")))
        .select("asof", "ticker", member=pl.lit(True))
        .unique()
    )
    joined = keys.join(found, on=["asof", "ticker"], how="left", maintain_order="left")
    return joined["member"].fill_null(False)

"""What a ticker belongs to at an asof: the universe (else it is no candidate), and a sector."""

from __future__ import annotations

import polars as pl

__all__ = ["NOT_A_MEMBER", "SECTOR", "is_member", "only_members", "with_sectors"]

NOT_A_MEMBER = "score of a ticker that was no member of the universe"
SECTOR = "sector"


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


def with_sectors(panel: pl.DataFrame, sectors: pl.DataFrame | None) -> pl.DataFrame:
    """The panel with the column `sector`, null where none is known; as it was without `sectors`.

    Parameters
    ----------
    panel
        asof, ticker and any other columns; order kept.
    sectors
        ticker, sector, from, to: both ends inclusive, null for always and still; the spans of a
        ticker do not overlap.
    """
    if sectors is None:
        return panel
    asof = pl.col("asof")
    keys = panel.select("asof", "ticker").unique()
    known = keys.join(sectors, on="ticker").filter(
        (pl.col("from") <= asof).fill_null(value=True), (asof <= pl.col("to")).fill_null(value=True)
    )
    return panel.join(
        known.select("asof", "ticker", SECTOR),
        on=["asof", "ticker"],
        how="left",
        maintain_order="left",
    )

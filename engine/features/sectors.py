"""Sectors at an asof, where somebody says what a ticker belongs to."""

from __future__ import annotations

import polars as pl

__all__ = ["SECTOR", "with_sectors"]

SECTOR = "sector"


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

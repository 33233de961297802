"""Redundancy: is the score a known factor under another name?"""

from __future__ import annotations

import polars as pl

from .ic import information_coefficient

__all__ = ["factor_correlation"]


def factor_correlation(
    panel: pl.DataFrame, judged: pl.DataFrame, *, factor: str, min_cross_section: int
) -> pl.DataFrame:
    """Spearman correlation of score and factor over each judged cross-section.

    Takes the panel with a column ``factor`` and asof, horizon of the dates to use. Returns asof,
    horizon, n, correlation; dates where fewer than ``min_cross_section`` names have the factor, or
    where it does not vary, are left out.
    """
    known = panel.join(judged.select("asof", "horizon"), on=["asof", "horizon"], how="semi")
    return (
        information_coefficient(known, min_cross_section=min_cross_section, label=factor)
        .filter(pl.col("status") == "judged")
        .select("asof", "horizon", "n", correlation="rank_ic")
    )

"""Redundancy: is the score a known factor under another name?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from backtest.statistics.cross_sections import CrossSections
from backtest.statistics.ic import information_coefficient

__all__ = ["factor_correlation", "redundancy_table"]


def factor_correlation(
    panel: pl.DataFrame | CrossSections,
    judged: pl.DataFrame,
    *,
    factor: str,
    min_cross_section: int,
) -> pl.DataFrame:
    """Spearman correlation of score and factor over each judged cross-section.

    Takes the panel with a column ``factor`` and asof, horizon of the dates to use. Returns asof,
    horizon, n, correlation; dates where fewer than ``min_cross_section`` names have the factor, or
    where it does not vary, are left out.
    """
    return (
        information_coefficient(panel, min_cross_section=min_cross_section, label=factor)
        .filter(pl.col("status") == "judged")
        .join(judged, on=["asof", "horizon"], how="semi", maintain_order="left")
        .select("asof", "horizon", "n", correlation="rank_ic")
    )


def redundancy_table(
    panel: pl.DataFrame | CrossSections,
    judged: pl.DataFrame,
    *,
    factors: Sequence[str],
    min_cross_section: int,
) -> dict[str, dict[str, Any]]:
    """Median over the judged dates of the Spearman correlation between score and each factor.

    Returns {factor: {"20": median}}; factors that the panel lacks are left out, None where no date
    has one.
    """
    sections = CrossSections.of(panel)
    horizons = sections.keys["horizon"].unique().sort().to_list()
    found: dict[str, dict[str, Any]] = {}
    for factor in factors:
        if factor not in sections.columns:
            continue
        medians = dict(
            factor_correlation(sections, judged, factor=factor, min_cross_section=min_cross_section)
            .group_by("horizon")
            .agg(pl.col("correlation").median())
            .iter_rows()
        )
        found[factor] = {str(horizon): medians.get(horizon) for horizon in horizons}
    return found

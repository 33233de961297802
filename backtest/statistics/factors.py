"""The score beside known factors: what they score, how alike they are, what they leave of it.

1. ``factor_baselines``: RankIC of each factor, taken as a score, on the same dates
2. ``factor_correlation``, ``redundancy_table``: is the score a known factor under another name?
3. ``neutral_rank_ic``: RankIC of what known factors do not explain of the score
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .cross_sections import CrossSections, average_ranks, row_correlation
from .ic import correlation_frame, information_coefficient
from .significance import series_interval

__all__ = [
    "factor_baselines",
    "factor_correlation",
    "neutral_rank_ic",
    "neutralised",
    "redundancy_table",
]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def factor_baselines(
    panel: pl.DataFrame | CrossSections,
    judged: pl.DataFrame,
    *,
    factors: Sequence[str],
    sessions: Sequence[date],
    min_cross_section: int,
) -> dict[str, dict[str, Any]]:
    """RankIC of each factor of the panel, taken as a score, on the judged dates.

    Returns {factor: {"20": {"n_dates", "rank_ic_mean", "ci95"}}}; factors that are no column of the
    panel are left out, horizons without a usable date have n_dates 0 and None.
    """
    sections = CrossSections.of(panel)
    horizons = sections.keys["horizon"].unique().sort().to_list()
    found: dict[str, dict[str, Any]] = {}
    for factor in factors:
        if factor not in sections.columns:
            continue
        ic = (
            information_coefficient(sections, min_cross_section=min_cross_section, score=factor)
            .filter(pl.col("status") == "judged")
            .join(judged, on=["asof", "horizon"], how="semi", maintain_order="left")
        )
        found[factor] = {}
        for horizon in horizons:
            series = ic.filter(pl.col("horizon") == horizon).sort("asof")
            interval = series_interval(series, "rank_ic", horizon=horizon, sessions=sessions)
            found[factor][str(horizon)] = {
                "n_dates": interval.n,
                "rank_ic_mean": interval.mean,
                "ci95": interval.bounds,
            }
    return found


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


def neutral_rank_ic(
    panel: pl.DataFrame | CrossSections,
    judged: pl.DataFrame,
    *,
    factors: Sequence[str],
    sector: str | None,
    min_cross_section: int,
) -> pl.DataFrame:
    """RankIC by asof and horizon of :func:`neutralised` scores, on the judged dates.

    Returns the frame of :func:`backtest.statistics.ic.information_coefficient`, judged dates only.
    """
    sections = CrossSections.of(panel)
    residual, mask = neutralised(sections, factors=factors, sector=sector)
    label = sections.column("label")
    rank_ic = row_correlation(average_ranks(residual), sections.ranks("label", mask), mask)
    ic = row_correlation(residual, label, mask)
    return (
        correlation_frame(
            sections, mask, rank_ic=rank_ic, ic=ic, min_cross_section=min_cross_section
        )
        .filter(pl.col("status") == "judged")
        .join(judged, on=["asof", "horizon"], how="semi", maintain_order="left")
    )


def neutralised(
    sections: CrossSections, *, factors: Sequence[str], sector: str | None = None
) -> tuple[Floats, Mask]:
    """Residual of the score's rank on the factors' ranks, over each cross-section.

    Ordinary least squares with an intercept, or one intercept a sector, of ranks (average for
    ties), so that no outlier of a factor decides. Names that lack a factor (or the sector) are left
    out. Returns (G, M) residuals, NaN in cells that are left out and in cross-sections with no more
    names than coefficients, and the cells kept.
    """
    mask = sections.known("score", "label", *factors)
    groups = [mask]
    if sector is not None:
        codes = sections.codes(sector)
        mask &= codes >= 0
        groups = [mask & (codes == code) for code in np.unique(codes[codes >= 0])]
    y, *columns = (_demeaned(sections.ranks(name, mask), groups) for name in ("score", *factors))
    coefficients = len(columns) + sum(group.any(axis=1).astype(int) for group in groups)
    mask = mask & (mask.sum(axis=1) > coefficients)[:, None]
    residual = y
    if columns:
        x = np.stack(columns)
        products = np.einsum("igm,jgm->gij", x, x)
        # pinv: a factor that does not vary, or doubles another, takes nothing away.
        slopes = np.linalg.pinv(products, rcond=1e-10, hermitian=True)
        beta = np.einsum("gij,jgm,gm->gi", slopes, x, y, optimize=True)
        residual = y - np.einsum("gi,igm->gm", beta, x)
    # A score that is the factor itself leaves rounding, which would have a rank order.
    scale = np.abs(y).max(axis=1, keepdims=True, initial=0.0)
    residual = np.where(np.abs(residual) <= 1e-9 * scale, 0.0, residual)
    return np.where(mask, residual, np.nan), mask


def _demeaned(values: Floats, groups: Sequence[Mask]) -> Floats:
    """Deviations from the mean of each group (the regression on one intercept a group); 0 outside
    of all."""
    found = np.zeros_like(values)
    for group in groups:
        n = np.maximum(group.sum(axis=1, keepdims=True), 1)
        mean = np.where(group, values, 0.0).sum(axis=1, keepdims=True) / n
        found = np.where(group, values - mean, found)
    return found

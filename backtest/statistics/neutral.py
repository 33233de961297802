"""RankIC of what known factors do not explain of a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from backtest.statistics.cross_sections import CrossSections, average_ranks, row_correlation
from backtest.statistics.ic import correlation_frame

__all__ = ["neutral_rank_ic", "neutralised"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


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

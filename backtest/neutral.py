"""RankIC of what known factors do not explain of a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .ic import information_coefficient, judged_rows

__all__ = ["neutral_rank_ic", "neutralised"]

Floats = NDArray[np.float64]


def neutral_rank_ic(
    panel: pl.DataFrame,
    judged: pl.DataFrame,
    *,
    factors: Sequence[str],
    sector: str | None,
    min_cross_section: int,
) -> pl.DataFrame:
    """RankIC by asof and horizon of :func:`neutralised` scores, on the judged dates.

    Returns the frame of :func:`backtest.ic.information_coefficient`, judged dates only.
    """
    keys = ["asof", "horizon"]
    rows = judged_rows(panel).join(judged.select(keys), on=keys, how="semi")
    residual = neutralised(rows, factors=factors, sector=sector)
    return information_coefficient(
        residual, min_cross_section=min_cross_section, score="neutral"
    ).filter(pl.col("status") == "judged")


def neutralised(
    rows: pl.DataFrame, *, factors: Sequence[str], sector: str | None = None
) -> pl.DataFrame:
    """Residual of the score's rank on the factors' ranks, over each cross-section.

    Ordinary least squares with an intercept, or one intercept a sector, of ranks (average for
    ties), so that no outlier of a factor decides. Takes asof, horizon, ticker, score and the
    columns named; names that lack a factor (or the sector) are left out. Returns the rows kept,
    sorted by (asof, horizon, ticker), with the column ``neutral``; it is NaN where there are no
    more names than coefficients.
    """
    keys = ["asof", "horizon"]
    known = [pl.col(name).is_finite() for name in factors]
    if sector is not None:
        known.append(pl.col(sector).is_not_null())
    kept = rows.filter(*known).sort(*keys, "ticker")
    ranks = kept.select(
        (pl.col(name).rank("average").over(keys) / pl.len().over(keys)).alias(name)
        for name in ("score", *factors)
    ).to_numpy()
    groups = np.zeros(kept.height, dtype=np.int64)
    if sector is not None:
        groups = kept[sector].cast(pl.String).cast(pl.Categorical).to_physical().to_numpy()
    sizes = kept.group_by(keys, maintain_order=True).len()["len"].to_numpy()
    ends = np.cumsum(sizes)
    found = np.full(kept.height, np.nan)
    for start, end in zip(ends - sizes, ends, strict=True):
        found[start:end] = _residual(ranks[start:end], groups[start:end])
    return kept.with_columns(neutral=pl.Series(found, dtype=pl.Float64))


def _residual(ranks: Floats, groups: NDArray[np.int64]) -> Floats:
    names, inverse = np.unique(groups, return_inverse=True)
    if len(ranks) <= len(names) + ranks.shape[1] - 1:
        return np.full(len(ranks), np.nan)
    # Demeaning by group is the regression on one intercept a group.
    counts = np.bincount(inverse)
    centred = np.column_stack(
        [column - (np.bincount(inverse, column) / counts)[inverse] for column in ranks.T]
    )
    y, x = centred[:, 0], centred[:, 1:]
    fitted = x @ np.linalg.lstsq(x.T @ x, x.T @ y, rcond=1e-12)[0]
    residual = y - fitted
    # A score that is the factor itself leaves rounding, which would have a rank order.
    scale = float(np.abs(y).max())
    return np.where(np.abs(residual) <= 1e-9 * scale, 0.0, residual)

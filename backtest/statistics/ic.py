"""Information coefficient: does the order of the scores match the order of the labels?"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .cross_sections import CrossSections, row_correlation

__all__ = ["correlation_frame", "information_coefficient", "judged_rows", "rank_ic_frame"]

_KEYS = ["asof", "horizon"]


def judged_rows(panel: pl.DataFrame, *, score: str = "score", label: str = "label") -> pl.DataFrame:
    """Rows that can be judged: status ok, label mature and known, score known."""
    return panel.filter(
        pl.col("status") == "ok",
        pl.col("mature").fill_null(False),
        pl.col(label).is_finite(),
        pl.col(score).is_finite(),
    )


def information_coefficient(
    panel: pl.DataFrame | CrossSections,
    *,
    min_cross_section: int,
    score: str = "score",
    label: str = "label",
) -> pl.DataFrame:
    """Spearman and Pearson correlation of score and label over each cross-section.

    Parameters
    ----------
    panel
        asof, ticker, horizon, status, mature and the two columns named.
    min_cross_section
        Fewest names that make a cross-section.

    Returns
    -------
    pl.DataFrame
        asof, horizon, n, rank_ic, ic, status; one row for every (asof, horizon) of the panel.
        ``rank_ic`` takes average ranks for ties (Spearman, 1904). Both are null unless status is
        ``judged``; the others are ``constant`` (scores or labels all equal), ``thin`` (n below
        ``min_cross_section``) and ``immature`` (the label's window is not over).
    """
    sections = CrossSections.of(panel)
    mask = sections.known(score, label)
    rank_ic = row_correlation(sections.ranks(score, mask), sections.ranks(label, mask), mask)
    ic = row_correlation(sections.column(score), sections.column(label), mask)
    return correlation_frame(
        sections, mask, rank_ic=rank_ic, ic=ic, min_cross_section=min_cross_section
    )


def correlation_frame(
    sections: CrossSections,
    mask: NDArray[np.bool_],
    *,
    rank_ic: NDArray[np.float64],
    ic: NDArray[np.float64],
    min_cross_section: int,
) -> pl.DataFrame:
    """The frame of :func:`information_coefficient` from one correlation a cross-section."""
    thin = pl.col("n") < min_cross_section
    status = (
        pl.when(~pl.col("any_mature"))
        .then(pl.lit("immature"))
        .when(thin)
        .then(pl.lit("thin"))
        .when(pl.col("rank_ic").is_null())
        .then(pl.lit("constant"))
        .otherwise(pl.lit("judged"))
    )
    judged = pl.col("status") == "judged"
    return (
        sections.keys.with_columns(
            n=pl.Series(mask.sum(axis=1), dtype=pl.Int64),
            rank_ic=pl.Series(rank_ic, dtype=pl.Float64).fill_nan(None),
            ic=pl.Series(ic, dtype=pl.Float64).fill_nan(None),
        )
        .with_columns(status=status)
        .with_columns(
            rank_ic=pl.when(judged).then(pl.col("rank_ic")),
            ic=pl.when(judged).then(pl.col("ic")),
        )
        .select("asof", "horizon", "n", "rank_ic", "ic", "status")
    )


def rank_ic_frame(panel: pl.DataFrame | CrossSections, *, min_cross_section: int) -> pl.DataFrame:
    """:func:`information_coefficient` with ``rank_ic_next_open`` beside it.

    The latter correlates the score with ``label_next_open`` (bought at the open of t+1) and is null
    on every date where ``rank_ic`` is.
    """
    panel = CrossSections.of(panel)
    close = information_coefficient(panel, min_cross_section=min_cross_section)
    opened = information_coefficient(
        panel, min_cross_section=min_cross_section, label="label_next_open"
    ).select(*_KEYS, rank_ic_next_open="rank_ic")
    return (
        close.join(opened, on=_KEYS, how="left")
        .with_columns(
            rank_ic_next_open=pl.when(pl.col("status") == "judged").then("rank_ic_next_open")
        )
        .select("asof", "horizon", "n", "rank_ic", "rank_ic_next_open", "ic", "status")
        .sort(_KEYS)
    )

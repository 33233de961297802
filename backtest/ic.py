"""Information coefficient: does the order of the scores match the order of the labels?"""

from __future__ import annotations

import polars as pl

__all__ = ["information_coefficient", "judged_rows", "rank_ic_frame"]

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
    panel: pl.DataFrame, *, min_cross_section: int, score: str = "score", label: str = "label"
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
    needed = sorted({*_KEYS, "status", "mature", score, label})
    rows = judged_rows(panel.select(needed), score=score, label=label).select(
        *_KEYS, x=score, y=label
    )
    ranked = rows.with_columns(
        rx=pl.col("x").rank("average").over(_KEYS), ry=pl.col("y").rank("average").over(_KEYS)
    )
    found = ranked.group_by(_KEYS).agg(
        n=pl.len().cast(pl.Int64), rank_ic=_correlation("rx", "ry"), ic=_correlation("x", "y")
    )
    thin = pl.col("n") < min_cross_section
    status = (
        pl.when(~pl.col("mature"))
        .then(pl.lit("immature"))
        .when(thin)
        .then(pl.lit("thin"))
        .when(pl.col("rank_ic").is_null())
        .then(pl.lit("constant"))
        .otherwise(pl.lit("judged"))
    )
    judged = pl.col("status") == "judged"
    return (
        panel.group_by(_KEYS)
        .agg(mature=pl.col("mature").fill_null(False).any())
        .join(found, on=_KEYS, how="left")
        .with_columns(n=pl.col("n").fill_null(0))
        .with_columns(status=status)
        .with_columns(
            rank_ic=pl.when(judged).then(pl.col("rank_ic")),
            ic=pl.when(judged).then(pl.col("ic")),
        )
        .select("asof", "horizon", "n", "rank_ic", "ic", "status")
        .sort(_KEYS)
    )


def rank_ic_frame(panel: pl.DataFrame, *, min_cross_section: int) -> pl.DataFrame:
    """:func:`information_coefficient` with ``rank_ic_next_open`` beside it.

    The latter correlates the score with ``label_next_open`` (bought at the open of t+1) and is null
    on every date where ``rank_ic`` is.
    """
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


def _correlation(left: str, right: str) -> pl.Expr:
    """Pearson correlation in [−1, 1]; null where either column does not vary."""
    a, b = pl.col(left), pl.col(right)
    varies = (a.min() < a.max()) & (b.min() < b.max())
    return pl.when(varies).then(pl.corr(a, b).fill_nan(None).clip(-1.0, 1.0))

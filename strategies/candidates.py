"""Candidates: the names scored at one horizon, ranked within each date."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from .checks import needs_columns, positive

__all__ = ["Blend", "rank_names", "scores_at_horizon"]


def scores_at_horizon(frame: pl.DataFrame, *, horizon: int | None) -> pl.DataFrame:
    """The rows of one horizon (None: the longest in the frame) whose score is finite.

    Raises ValueError naming ``strategy.horizon`` when the frame has no such horizon.
    """
    available = sorted(frame["horizon"].unique().to_list())
    if horizon is not None and available and horizon not in available:
        raise ValueError(
            f"strategy.horizon: {horizon} is not among the scored horizons {available};"
            " choose one of them or null for the longest"
        )
    wanted = pl.col("horizon").max() if horizon is None else pl.lit(horizon)
    kept = frame.filter(pl.col("horizon") == wanted, pl.col("score").is_finite())
    return kept.sort("asof", "ticker")


def rank_names(scores: pl.DataFrame) -> pl.DataFrame:
    """Adds per asof ``rank`` (1 = highest score; ties by ticker ascending), ``n`` and ``constant``.

    ``constant`` is true where all scores of the date are equal, so that no order is known.
    """
    return (
        scores.sort(["asof", "score", "ticker"], descending=[False, True, False])
        .with_columns(
            rank=pl.int_range(1, pl.len() + 1).over("asof"),
            n=pl.len().cast(pl.Int64).over("asof"),
            constant=(pl.col("score").min() == pl.col("score").max()).over("asof"),
        )
        .sort(["asof", "ticker"])
    )


@dataclass(frozen=True)
class Blend:
    """The score becomes the weighted mean of its percentile rank and that of another column.

    Percentile ranks are average ranks over the date divided by its number of names. A name without
    the other column keeps only its own rank.
    """

    column: str = "momentum_12m"
    weight: float = 1.0

    def __post_init__(self) -> None:
        positive("score.weight", self.weight)

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        needs_columns(frame, self.column, step="blend")
        other = pl.col(self.column).cast(pl.Float64).fill_nan(None)
        own, theirs = _percentile(pl.col("score")), _percentile(other)
        both = (own + self.weight * theirs) / (1 + self.weight)
        return frame.with_columns(score=pl.coalesce(both, own))


def _percentile(values: pl.Expr) -> pl.Expr:
    return (values.rank("average") / values.count()).over("asof")

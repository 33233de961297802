"""Select: which names a book holds, and on which side."""

from __future__ import annotations

import polars as pl

__all__ = ["rank_names", "scores_at_horizon", "select_tails"]

# n · quantile in binary floating point can fall just short of a whole number (100 · 0.29).
_ROUNDING = 1e-9


def scores_at_horizon(frame: pl.DataFrame, *, horizon: int | None) -> pl.DataFrame:
    """asof, ticker, score at one horizon (None: the longest in the frame), without missing scores.

    Raises ValueError naming ``strategy.horizon`` when the frame has no such horizon.
    """
    available = sorted(frame["horizon"].unique().to_list())
    if horizon is not None and available and horizon not in available:
        raise ValueError(
            f"strategy.horizon: {horizon} is not among the scored horizons {available};"
            " choose one of them or null for the longest"
        )
    wanted = pl.col("horizon").max() if horizon is None else pl.lit(horizon)
    return frame.filter(pl.col("horizon") == wanted, pl.col("score").is_finite()).select(
        "asof", "ticker", "score"
    )


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


def select_tails(ranked: pl.DataFrame, *, quantile: float) -> pl.DataFrame:
    """Adds ``side``: +1 for the top tail of each date, −1 for the bottom tail, 0 between.

    Takes the frame of :func:`rank_names`. Dates with constant scores or fewer than two names select
    nothing: without an order there is no long and no short side.
    """
    size = (pl.col("n") * quantile + _ROUNDING).floor().cast(pl.Int64).clip(lower_bound=1)
    empty = pl.col("constant") | (pl.col("n") < 2)
    return ranked.with_columns(
        side=pl.when(empty)
        .then(0)
        .when(pl.col("rank") <= size)
        .then(1)
        .when(pl.col("rank") > pl.col("n") - size)
        .then(-1)
        .otherwise(0)
        .cast(pl.Int8)
    )

"""Churn: how much of the Top-K is replaced from one date to another."""

from __future__ import annotations

import numpy as np
import polars as pl

from .cross_sections import CrossSections

__all__ = ["churn", "rank_top", "top_membership"]

_CARRIED = ("label", "fold")


def rank_top(panel: pl.DataFrame, *, top_k: int) -> pl.DataFrame:
    """The highest scores of each cross-section, at least ``top_k`` of them, with their place.

    Takes asof, ticker, horizon, score, status and returns asof, horizon, ticker, rank (1 = highest
    score, ties by ticker ascending), n (all scored names), k = min(top_k, ⌊n/5⌋) but at least 1,
    and ``constant`` (all scores of the date are equal: no order is known and there is no Top-K);
    label and fold beside them, where the panel has them.
    """
    keys = ["asof", "horizon"]
    carried = [name for name in _CARRIED if name in panel.columns]
    scored = panel.filter(pl.col("status") == "ok", pl.col("score").is_finite()).select(
        *keys, "ticker", "score", *carried
    )
    sections = CrossSections(scored.with_columns(status=pl.lit("ok"), mature=pl.lit(value=True)))
    score = sections.column("score")
    count = np.isfinite(score).sum(axis=1)
    filled = np.where(np.isfinite(score), score, -np.inf)
    place = max(score.shape[1] - max(top_k, 1), 0)
    cut = np.partition(filled, place, axis=1)[:, place] if score.size else np.zeros(0)
    low = np.where(np.isfinite(score), score, np.inf).min(axis=1, initial=np.inf)
    sizes = sections.keys.select(
        *keys,
        n=pl.Series(count, dtype=pl.Int64),
        cut=pl.Series(cut, dtype=pl.Float64),
        constant=pl.Series((low == filled.max(axis=1, initial=-np.inf)) & (count > 1)),
    )
    # Only what can be in a Top-K is sorted: names at or above the top_k-th score.
    return (
        scored.filter(sections.rows(score >= cut[:, None]))
        .join(sizes, on=keys)
        .sort(["asof", "horizon", "score", "ticker"], descending=[False, False, True, False])
        .with_columns(
            rank=pl.int_range(1, pl.len() + 1).over(keys),
            k=pl.min_horizontal(pl.lit(top_k), pl.col("n") // 5).clip(lower_bound=1),
        )
        .select(*keys, "ticker", "rank", "n", "constant", "k", *carried)
    )


def top_membership(ranked: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The Top-K of each date with whether each name was in the Top-K of an earlier one.

    Takes the frame of :func:`rank_top` and asof, horizon, previous. Returns asof, horizon, ticker,
    k, kept (and label and fold); K is that of the later date for both sets. Dates with constant
    scores have no Top-K: as the later date they are left out, as the earlier one nothing is kept.
    """
    top = ranked.filter(pl.col("rank") <= pl.col("k"), ~pl.col("constant")).join(
        pairs, on=["asof", "horizon"]
    )
    carried = [name for name in _CARRIED if name in ranked.columns]
    earlier = ranked.filter(~pl.col("constant")).select(
        "horizon", "ticker", previous="asof", rank_before="rank"
    )
    return (
        top.join(earlier, on=["previous", "horizon", "ticker"], how="left")
        .with_columns(kept=(pl.col("rank_before") <= pl.col("k")).fill_null(False))
        .select("asof", "horizon", "ticker", "k", "kept", *carried)
        .sort("asof", "horizon", "ticker")
    )


def churn(ranked: pl.DataFrame) -> pl.DataFrame:
    """churn@K = 1 − |TopK(t) ∩ TopK(s)| / K with s the rebalance before t.

    Takes the frame of :func:`rank_top`; labels play no part, so that dates whose label is not
    mature count too. Returns asof, horizon, churn, k; churn is null for the first date and for
    dates with constant scores.
    """
    dates = ranked.select("asof", "horizon").unique().sort("horizon", "asof")
    pairs = dates.with_columns(previous=pl.col("asof").shift(1).over("horizon"))
    kept = (
        top_membership(ranked, pairs.drop_nulls("previous"))
        .group_by("asof", "horizon")
        # Names replaced over K: 1 − kept/K would put 3 of 10 a rounding error above 0.3.
        .agg(churn=(~pl.col("kept")).sum() / pl.col("k").first())
    )
    sizes = ranked.group_by("asof", "horizon").agg(k=pl.col("k").first())
    return (
        sizes.join(kept, on=["asof", "horizon"], how="left")
        .select("asof", "horizon", "churn", "k")
        .sort("asof", "horizon")
    )

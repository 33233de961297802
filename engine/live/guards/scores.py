"""Scores that are no numbers, or no returns."""

from __future__ import annotations

import polars as pl

from engine.live.guards.event import GuardEvent, listed, tripped

__all__ = ["bad_scores"]


def bad_scores(scores: pl.DataFrame, *, max_abs: float) -> list[GuardEvent]:
    """`scores` (ticker, score) holds NaN, an infinity, or a score beyond ±`max_abs`.

    A null score is a name that was left out, and no matter; no score at all is.
    """
    known = scores.filter(pl.col("score").is_not_null())
    if known.is_empty():
        return tripped("bad_scores", "no name has a score")
    broken = known.filter(~pl.col("score").is_finite())["ticker"].unique().sort().to_list()
    if broken:
        return tripped("bad_scores", f"scores that are no numbers: {listed(broken)}", broken)
    extreme = known.filter(pl.col("score").abs() > max_abs).sort("ticker")
    if extreme.is_empty():
        return []
    shown = [f"{ticker} {score:+.3g}" for ticker, score in extreme["ticker", "score"].iter_rows()]
    return tripped(
        "bad_scores",
        f"scores beyond live.guards.max_abs_score {max_abs:g}: {listed(shown)}",
        extreme["ticker"].unique().to_list(),
    )

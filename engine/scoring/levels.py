"""The bar predicted for the session after each asof, read from finished statistics."""

from __future__ import annotations

import polars as pl

from engine.forecasters.statistics import LEVELS
from engine.scoring.plan import WindowPlan

__all__ = ["LEVELS_SCHEMA", "assemble_levels", "level_steps"]

LEVELS_SCHEMA = pl.Schema(
    {
        "asof": pl.Date(),
        "ticker": pl.String(),
        "last_close": pl.Float64(),
        "predicted_open": pl.Float64(),
        "predicted_high": pl.Float64(),
        "predicted_low": pl.Float64(),
        "predicted_close": pl.Float64(),
    }
)


def level_steps(plan: WindowPlan) -> range:
    """The steps that make up the session after an asof: the first one of daily bars."""
    longest = plan.horizon_steps([1])["step"].max()
    return range(1, longest + 1 if isinstance(longest, int) else 1)


def assemble_levels(plan: WindowPlan, finished: pl.DataFrame | None) -> pl.DataFrame:
    """`LEVELS_SCHEMA`, one row per planned window with a predicted bar, sorted by asof, ticker.

    Prices are means over paths, in the money of `last_close` (adjusted as of the asof). Of
    intraday bars the session's open is the first one's, its high the highest of the mean highs,
    its low the lowest of the mean lows.
    """
    if finished is None:
        return pl.DataFrame(schema=LEVELS_SCHEMA)
    wanted = plan.planned.select("asof", "ticker", "hash")
    last = plan.horizon_steps([1]).select("asof", last="step")
    bars = (
        finished.join(wanted, on=["asof", "ticker", "hash"], how="semi")
        .join(last, on="asof")
        .filter(pl.col("step") <= pl.col("last"), pl.all_horizontal(pl.col(*LEVELS).is_not_null()))
        .sort("asof", "ticker", "step")
    )
    return (
        bars.group_by("asof", "ticker", maintain_order=True)
        .agg(
            pl.col("last_close", "predicted_open").first(),
            pl.col("predicted_high").max(),
            pl.col("predicted_low").min(),
            predicted_close=(pl.col("last_close") * (1 + pl.col("terminal_score"))).last(),
            complete=pl.len() == pl.col("last").first(),
        )
        .filter("complete")
        .select(*LEVELS_SCHEMA)
    )

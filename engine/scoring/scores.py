"""From finished statistics to tables: the scores, and the bar predicted for the next session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from engine.forecasters.statistics import LEVELS
from engine.scoring.plan import WindowPlan

__all__ = ["LEVELS_SCHEMA", "SCORES_SCHEMA", "assemble_levels", "assemble_scores", "level_steps"]

SCORES_SCHEMA = pl.Schema(
    {
        "asof": pl.Date(),
        "ticker": pl.String(),
        "horizon": pl.Int32(),
        "score": pl.Float64(),
        "score_std": pl.Float64(),
        "p_up": pl.Float64(),
        "q05": pl.Float64(),
        "q50": pl.Float64(),
        "q95": pl.Float64(),
        "last_close": pl.Float64(),
        "n_paths": pl.Int32(),
        "status": pl.String(),
        "reason": pl.String(),
    }
)
MEASURES = ("score", "score_std", "p_up", "q05", "q50", "q95")


def assemble_scores(
    plan: WindowPlan,
    finished: pl.DataFrame | None,
    failed: Mapping[tuple[str, str], str],
    *,
    horizons: Sequence[int],
    form: str,
) -> pl.DataFrame:
    """One row per candidate (asof, ticker, horizon), sorted by asof, ticker, horizon.

    `finished` holds per-step statistics with each window's hash; `failed` maps (asof ISO date,
    ticker) to the reason. Raises RuntimeError if any window is unaccounted for or counted twice.
    """
    steps = pl.DataFrame({"horizon": list(horizons)}, schema={"horizon": pl.Int32})
    wanted = plan.windows.select(
        "asof", "ticker", pl.col("status", "reason").cast(pl.String), "hash"
    ).join(steps, how="cross")
    if finished is None:
        finished = pl.DataFrame(
            schema={
                "asof": pl.Date,
                "ticker": pl.String,
                "hash": pl.String,
                "step": pl.Int32,
                "last_close": pl.Float64,
                "n_paths": pl.Int32,
                **{f"{form}_{measure}": pl.Float64 for measure in MEASURES},
            }
        )
    measured = finished.join(plan.horizon_steps(horizons), on=["asof", "step"]).select(
        "asof",
        "ticker",
        "hash",
        "horizon",
        *(pl.col(f"{form}_{measure}").alias(measure) for measure in MEASURES),
        "last_close",
        "n_paths",
    )
    given_up = pl.DataFrame(
        [(asof, ticker, reason) for (asof, ticker), reason in failed.items()],
        schema={"asof": pl.String, "ticker": pl.String, "failure": pl.String},
        orient="row",
    ).with_columns(pl.col("asof").str.to_date())
    keys = ["asof", "ticker"]
    rows = wanted.join(measured, on=[*keys, "hash", "horizon"], how="left").join(
        given_up, on=keys, how="left"
    )
    skipped = pl.col("status") == "skipped"
    status = (
        pl.when(skipped)
        .then(pl.lit("skipped"))
        .when(pl.col("score").is_not_null())
        .then(pl.lit("ok"))
        .otherwise(pl.lit("failed"))
    )
    rows = rows.with_columns(
        status.alias("status"),
        pl.when(skipped)
        .then(pl.col("reason"))
        .when(pl.col("score").is_null())
        .then(pl.col("failure"))
        .alias("reason"),
        pl.col("n_paths").fill_null(0),
    )
    _verify(rows, wanted.height)
    return rows.select(*SCORES_SCHEMA).cast(SCORES_SCHEMA).sort("asof", "ticker", "horizon")


def _verify(rows: pl.DataFrame, planned: int) -> None:
    if rows.height != planned or rows.select("asof", "ticker", "horizon").is_duplicated().any():
        raise RuntimeError(f"scores hold {rows.height} rows where {planned} were planned")
    lost = rows.filter((pl.col("status") == "failed") & pl.col("reason").is_null())
    if lost.height:
        first = lost.row(0, named=True)
        raise RuntimeError(
            f"{lost.height} planned windows have no score and no reason, "
            f"the first {first['ticker']} at {first['asof']}"
        )


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

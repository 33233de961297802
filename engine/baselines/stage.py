"""The baselines of a run, from its settings: beside the judged score, or as the score itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from backtest.statistics.ic import information_coefficient
from engine.baselines.baseline import LightGBMBaseline
from engine.data import Market
from engine.data.membership import only_members
from engine.forecasters.named import LIGHTGBM
from engine.scoring.score import Scored
from engine.scoring.scores import SCORES_SCHEMA

__all__ = [
    "BASELINE_FACTORS",
    "baseline_columns",
    "baseline_rank_ic",
    "baseline_scored",
    "with_baselines",
]

PERSISTENCE = "persistence"
BASELINE_FACTORS = ("momentum_12m", "reversal_5")
"""Factors that are baselines of every run, listed under `features` or not."""


def baseline_scored(baseline: LightGBMBaseline, market: Market, asofs: Sequence[date]) -> Scored:
    """The baseline as the scores of a run: every candidate with a bar at an asof has a row.

    Rows of folds that had too little to learn from are skipped, with the reason.
    """
    bars = market.bars.select("ticker", asof="date", last_close="close")
    horizons = pl.DataFrame({"horizon": baseline.horizons}, schema={"horizon": pl.Int32})
    rows = (
        only_members(bars.filter(pl.col("asof").is_in(list(asofs))), market.members)
        .join(horizons, how="cross")
        .join(baseline.predictions, on=["asof", "ticker", "horizon"], how="left")
    )
    known = pl.col(LIGHTGBM).is_not_null()
    reason = next(iter(baseline.skipped), "not fitted")
    given = {
        "score": pl.col(LIGHTGBM),
        "n_paths": pl.lit(1),
        "status": pl.when(known).then(pl.lit("ok")).otherwise(pl.lit("skipped")),
        "reason": pl.when(~known).then(pl.lit(reason)),
    }
    absent = [name for name in SCORES_SCHEMA if name not in {*rows.columns, *given}]
    scores = (
        rows.with_columns(pl.lit(None).alias(name) for name in absent)
        .with_columns(**given)
        .select(*SCORES_SCHEMA)
        .cast(SCORES_SCHEMA)
        .sort("asof", "ticker", "horizon")
    )
    skipped = scores.filter(status="skipped").select("asof", "ticker").unique().height
    return Scored(
        scores=scores,
        fingerprint=baseline.fingerprint,
        identity=baseline.identity,
        counts={},
        skipped={reason: skipped} if skipped else {},
        failed={},
    )


def with_baselines(panel: pl.DataFrame, baseline: LightGBMBaseline) -> pl.DataFrame:
    """The panel with the column `lightgbm`; as it was where nothing could be fitted."""
    if baseline.predictions.is_empty():
        return panel
    keys = ["asof", "ticker", "horizon"]
    return panel.join(baseline.predictions, on=keys, how="left", maintain_order="left")


def baseline_columns(
    panel: pl.DataFrame, features: Sequence[str]
) -> tuple[pl.DataFrame, list[str]]:
    """The panel to be judged and its columns that are baselines.

    They are the momentum factors of `features`, `BASELINE_FACTORS`, LightGBM where it was fitted,
    and persistence: the price stays, every score 0, which has no order and so no RankIC.
    """
    momentum = [n for n in features if n.startswith("momentum") and not n.endswith("_z")]
    names = dict.fromkeys([*momentum, *BASELINE_FACTORS, PERSISTENCE, LIGHTGBM])
    judged = panel.with_columns(pl.lit(0.0).alias(PERSISTENCE))
    return judged, [name for name in names if name in judged.columns]


def baseline_rank_ic(panel: pl.DataFrame, *, min_cross_section: int) -> pl.DataFrame | None:
    """asof, horizon, rank_ic of LightGBM on the rows that the score is judged on; None without."""
    if LIGHTGBM not in panel.columns:
        return None
    ic = information_coefficient(panel, min_cross_section=min_cross_section, score=LIGHTGBM)
    return ic.filter(pl.col("status") == "judged").select("asof", "horizon", "rank_ic")

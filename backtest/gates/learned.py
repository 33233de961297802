"""Gate 2: does the score keep up with a baseline that was trained in the same run?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from ..judgement import Judgement
from ..statistics.significance import mean_interval, session_spacing
from .conditions import Condition, above, at_least, per_horizon, undecided
from .rules import GateRules

__all__ = ["NO_BASELINE", "ml_gate", "ml_threshold"]

NO_BASELINE = "no baseline in this run"


def ml_threshold(baseline: float, rules: GateRules) -> float:
    """min(rank_ic, max(floor, baseline − gap)): near the baseline, never below the floor."""
    ml = rules.ml
    return min(ml.rank_ic, max(ml.floor, baseline - ml.baseline_gap))


def ml_gate(
    judgement: Judgement, rules: GateRules, baseline: pl.DataFrame | None
) -> tuple[dict[str, Any], list[Condition]]:
    """Numbers and conditions; ``baseline`` holds asof, horizon, rank_ic, or is None."""
    horizons = judgement.metrics["horizons"]
    numbers = per_horizon(horizons, "rank_ic_mean")
    numbers |= {"baseline_rank_ic": {}, "threshold": {}, "difference": {}}
    numbers["reference_unaudited"] = {str(k): v for k, v in rules.ml.reference.items()}
    parts = []
    for key, figures in horizons.items():
        name = f"RankIC ≥ LightGBM threshold at {key} sessions"
        paired = _paired(judgement, baseline, int(key))
        missing = rules.sample.shortage(key, {**figures, "n_dates": paired.height})
        if not paired.height:
            parts.append(undecided(name, NO_BASELINE))
            continue
        reached = float(paired["baseline"].mean())  # type: ignore[arg-type]
        threshold = ml_threshold(reached, rules)
        # Pairing takes out what moves both: only where the baseline sets the threshold.
        against = (
            paired["baseline"] - rules.ml.baseline_gap
            if rules.ml.floor < reached - rules.ml.baseline_gap < rules.ml.rank_ic
            else threshold
        )
        interval = mean_interval(
            paired["rank_ic"] - against,
            horizon=int(key),
            spacing=session_spacing(paired["asof"], judgement.sessions),
        )
        numbers["baseline_rank_ic"][key] = reached
        numbers["threshold"][key] = threshold
        numbers["difference"][key] = interval.mean
        parts.append(
            undecided(name, missing, threshold=0.0)
            if missing
            else above(
                name,
                interval.mean,
                interval.bounds,
                threshold=0.0,
                what=f"RankIC minus the threshold {threshold:.4f} at {key} sessions"
                f" (LightGBM {reached:.4f}, {paired.height} dates)",
            )
        )
    whole, *parts = at_least(rules.ml.horizons, parts, what="RankIC ≥ LightGBM threshold")
    if not numbers["threshold"]:
        whole = replace(whole, reasons=(NO_BASELINE,))
    return numbers, [whole, *parts]


def _paired(judgement: Judgement, baseline: pl.DataFrame | None, horizon: int) -> pl.DataFrame:
    """asof, rank_ic, baseline on the dates that both have."""
    own = judgement.ic.filter(pl.col("horizon") == horizon).select("asof", "rank_ic").drop_nulls()
    if baseline is None:
        return own.clear().with_columns(baseline=pl.lit(None, dtype=pl.Float64))
    other = baseline.filter(pl.col("horizon") == horizon).select("asof", baseline="rank_ic")
    return own.join(other.drop_nulls(), on="asof").sort("asof")

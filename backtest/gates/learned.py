"""Gate 2: does the score keep up with a baseline that was trained in the same run?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from ..judgement import Judgement
from ..statistics.significance import MeanInterval, series_interval
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
    pairs = {key: _pair(judgement, rules, baseline, int(key)) for key in horizons}
    known = {key: pair for key, pair in pairs.items() if pair is not None}
    parts = [_condition(key, horizons[key], pair, rules) for key, pair in pairs.items()]
    whole, *parts = at_least(rules.ml.horizons, parts, what="RankIC ≥ LightGBM threshold")
    if not known:
        whole = replace(whole, reasons=(NO_BASELINE,))
    numbers = {
        **per_horizon(horizons, "rank_ic_mean"),
        "baseline_rank_ic": {key: pair.baseline for key, pair in known.items()},
        "threshold": {key: pair.threshold for key, pair in known.items()},
        "difference": {key: pair.difference.mean for key, pair in known.items()},
        "reference_unaudited": {str(key): value for key, value in rules.ml.reference.items()},
    }
    return numbers, [whole, *parts]


@dataclass(frozen=True)
class _Pair:
    """Score and baseline on the dates that both have: mean RankIC of the baseline, the threshold
    that follows, and the score's RankIC minus the threshold."""

    baseline: float
    threshold: float
    difference: MeanInterval


def _pair(
    judgement: Judgement, rules: GateRules, baseline: pl.DataFrame | None, horizon: int
) -> _Pair | None:
    if baseline is None:
        return None
    at = pl.col("horizon") == horizon
    own = judgement.ic.filter(at).select("asof", "rank_ic").drop_nulls()
    other = baseline.filter(at).select("asof", baseline="rank_ic").drop_nulls()
    paired = own.join(other, on="asof").sort("asof")
    if paired.is_empty():
        return None
    reached = float(paired["baseline"].mean())  # type: ignore[arg-type]
    ml, threshold = rules.ml, ml_threshold(reached, rules)
    # Pairing takes out what moves both: only where the baseline sets the threshold.
    sets = ml.floor < reached - ml.baseline_gap < ml.rank_ic
    against = pl.col("baseline") - ml.baseline_gap if sets else threshold
    differences = paired.select("asof", difference=pl.col("rank_ic") - against)
    found = series_interval(differences, "difference", horizon=horizon, sessions=judgement.sessions)
    return _Pair(reached, threshold, found)


def _condition(
    key: str, figures: dict[str, Any], pair: _Pair | None, rules: GateRules
) -> Condition:
    name = f"RankIC ≥ LightGBM threshold at {key} sessions"
    if pair is None:
        return undecided(name, NO_BASELINE)
    found = pair.difference
    return above(
        name,
        found.mean,
        found.bounds,
        threshold=0.0,
        what=f"RankIC minus the threshold {pair.threshold:.4f} at {key} sessions"
        f" (LightGBM {pair.baseline:.4f}, {found.n} dates)",
        missing=rules.sample.shortage(key, {**figures, "n_dates": found.n}),
    )

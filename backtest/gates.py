"""The three gates: from figures with intervals to PASS, FAIL or INCONCLUSIVE.

1. ``backtest.conditions`` compares one figure with one threshold
2. ``_factor``, ``_machine_learning``, ``_practical`` collect the conditions of a gate
3. ``combine`` forms the gate's verdict: FAIL dominates, then INCONCLUSIVE
4. ``evaluate_gates`` holds everything back when the training period is unknown
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import polars as pl

from .conditions import (
    FAIL,
    INCONCLUSIVE,
    PASS,
    Condition,
    above,
    at_least,
    below_in_size,
    combine,
    no_regime_below_zero,
    point,
    undecided,
)
from .gate_rules import GateRules, parse_gate_rules
from .judge import Judgement
from .significance import mean_interval, session_spacing

__all__ = ["GateRules", "TrainingPeriod", "evaluate_gates", "ml_threshold", "parse_gate_rules"]

TrainingPeriod = Literal["known", "unknown", "none"]
Gate = dict[str, Any]

_NO_BASELINE = "no baseline in this run"
_UNKNOWN = (
    "training period unknown: no date can be called out of sample. Set model.trained_until to the"
    " last date the model was trained or selected on."
)


def evaluate_gates(
    judgement: Judgement,
    *,
    rules: GateRules,
    training_period: TrainingPeriod,
    baseline: pl.DataFrame | None = None,
) -> dict[str, Any]:
    """The content of ``gates.json`` for the out-of-sample judgement.

    Parameters
    ----------
    judgement
        Of the dates after the model's training period.
    rules
        Thresholds.
    training_period
        ``unknown`` makes every gate INCONCLUSIVE; ``none`` (a model that is not trained) and
        ``known`` judge.
    baseline
        asof, horizon, rank_ic of the LightGBM baseline trained under the same folds, or None.

    Returns
    -------
    dict
        version and gates; each gate has name, verdict, numbers, conditions, reasons. A condition
        with ``part_of`` is one horizon of the condition it names and decides only through it.
    """
    gates = [
        _form("factor", *_factor(judgement, rules)),
        _form("ml", *_machine_learning(judgement, rules, baseline)),
        _form("practical", *_practical(judgement, rules)),
    ]
    shortage = _shortage_everywhere(judgement, rules)
    if shortage:
        gates = [_hold(gate, shortage) for gate in gates]
    if training_period == "unknown":
        gates = [_hold(gate, _UNKNOWN) for gate in gates]
    return {"version": 1, "gates": gates}


def ml_threshold(baseline: float, rules: GateRules) -> float:
    """min(rank_ic, max(floor, baseline − gap)): near the baseline, never below the floor."""
    ml = rules.ml
    return min(ml.rank_ic, max(ml.floor, baseline - ml.baseline_gap))


def _factor(judgement: Judgement, rules: GateRules) -> tuple[dict[str, Any], list[Condition]]:
    horizons = judgement.metrics["horizons"]
    passing = _rank_ic_on_horizons(horizons, rules, value="rank_ic_mean", interval="ci95")
    redundant = [_redundancy(key, figures, rules) for key, figures in horizons.items()]
    remark = _next_open_remark(judgement, rules, passing, redundant)
    conditions = [passing[0].adding(remark), *passing[1:], *redundant]
    numbers = _per_horizon(
        horizons, "n_dates", "n_names_median", "rank_ic_mean", "rank_ic_next_open", "redundancy"
    )
    return numbers, conditions


def _redundancy(key: str, figures: dict[str, Any], rules: GateRules) -> Condition:
    limit = rules.factor.redundancy
    name = f"|redundancy| < {limit:g} at {key} sessions"
    shortage = _shortage(key, figures, rules)
    if shortage:
        return undecided(name, shortage, threshold=limit)
    return below_in_size(
        name,
        figures["redundancy"],
        figures["redundancy_ci95"],
        threshold=limit,
        what=f"Correlation with 12-month momentum at {key} sessions",
    )


def _rank_ic_on_horizons(
    horizons: dict[str, Any], rules: GateRules, *, value: str, interval: str
) -> list[Condition]:
    """The "at least k horizons" condition, followed by its parts."""
    limit = rules.factor.rank_ic
    parts = []
    for key, figures in horizons.items():
        name = f"RankIC ≥ {limit:g} at {key} sessions"
        shortage = _shortage(key, figures, rules)
        parts.append(
            undecided(name, shortage, threshold=limit)
            if shortage
            else above(
                name,
                figures[value],
                figures[interval],
                threshold=limit,
                what=f"Mean RankIC at {key} sessions ({figures['n_dates']} dates)",
            )
        )
    return at_least(rules.factor.horizons, parts, what=f"RankIC ≥ {limit:g}")


def _next_open_remark(
    judgement: Judgement,
    rules: GateRules,
    passing: list[Condition],
    redundant: list[Condition],
) -> str | None:
    """What gate 1 would be with entry at the next open, where that differs."""
    horizons = judgement.metrics["horizons"]
    opened = _rank_ic_on_horizons(
        horizons, rules, value="rank_ic_next_open", interval="rank_ic_next_open_ci95"
    )
    then = combine([*opened, *redundant])
    if then == combine([*passing, *redundant]):
        return None
    figures = ", ".join(
        f"{_number(item['rank_ic_next_open'])} at {key} sessions" for key, item in horizons.items()
    )
    return (
        f"Bought at the next open instead of the close, this gate would be {then}:"
        f" mean RankIC {figures}."
    )


def _machine_learning(
    judgement: Judgement, rules: GateRules, baseline: pl.DataFrame | None
) -> tuple[dict[str, Any], list[Condition]]:
    horizons = judgement.metrics["horizons"]
    numbers = _per_horizon(horizons, "rank_ic_mean")
    numbers |= {"baseline_rank_ic": {}, "threshold": {}, "difference": {}}
    numbers["reference_unaudited"] = {str(k): v for k, v in rules.ml.reference.items()}
    parts = []
    for key, figures in horizons.items():
        name = f"RankIC ≥ LightGBM threshold at {key} sessions"
        paired = _paired(judgement, baseline, int(key))
        shortage = _shortage(key, {**figures, "n_dates": paired.height}, rules)
        if not paired.height:
            parts.append(undecided(name, _NO_BASELINE))
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
            undecided(name, shortage, threshold=0.0)
            if shortage
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
        whole = replace(whole, reasons=(_NO_BASELINE,))
    return numbers, [whole, *parts]


def _paired(judgement: Judgement, baseline: pl.DataFrame | None, horizon: int) -> pl.DataFrame:
    """asof, rank_ic, baseline on the dates that both have."""
    own = judgement.ic.filter(pl.col("horizon") == horizon).select("asof", "rank_ic").drop_nulls()
    if baseline is None:
        return own.clear().with_columns(baseline=pl.lit(None, dtype=pl.Float64))
    other = baseline.filter(pl.col("horizon") == horizon).select("asof", baseline="rank_ic")
    return own.join(other.drop_nulls(), on="asof").sort("asof")


def _practical(judgement: Judgement, rules: GateRules) -> tuple[dict[str, Any], list[Condition]]:
    horizons = judgement.metrics["horizons"]
    longer = dict(list(horizons.items())[len(horizons) // 2 :])
    limits = rules.practical
    conditions = [_churn_condition(judgement, rules)]
    for key, figures in longer.items():
        survival = f"cost survival ≥ {limits.cost_survival:.0%} at {key} sessions"
        excess = f"mean net excess > {limits.net_excess:g} at {key} sessions"
        shortage = _shortage(key, figures, rules)
        if shortage:
            conditions.append(undecided(survival, shortage, threshold=limits.cost_survival))
            conditions.append(undecided(excess, shortage, threshold=limits.net_excess))
            continue
        conditions.append(
            point(
                survival,
                figures["cost_survival"],
                threshold=limits.cost_survival,
                at_most=False,
                what=f"Share of folds with a positive net excess at {key} sessions",
            )
        )
        conditions.append(
            above(
                excess,
                figures["net_excess_mean"],
                figures["net_excess_ci95"],
                threshold=limits.net_excess,
                strict=True,
                what=f"Mean Top-K net excess at {key} sessions",
            )
        )
    conditions.append(_regime_condition(judgement, rules))
    numbers = {
        "churn_median": judgement.metrics["churn"]["rebalance_median"],
        "k": judgement.metrics["churn"]["k"],
        **_per_horizon(longer, "cost_survival", "net_excess_mean", "breakeven_bps"),
        "regimes_judged": sum(not row["thin"] for row in judgement.metrics["regimes"]),
    }
    return numbers, conditions


def _churn_condition(judgement: Judgement, rules: GateRules) -> Condition:
    horizons = judgement.metrics["horizons"]
    limit = rules.practical.churn
    name = f"median churn ≤ {limit:.2f}"
    if not horizons:
        return undecided(name, "There is no horizon to judge.", threshold=limit)
    key = list(horizons)[-1]
    shortage = _shortage(key, horizons[key], rules)
    if shortage:
        return undecided(name, shortage, threshold=limit)
    churn = judgement.metrics["churn"]
    return point(
        name,
        churn["rebalance_median"],
        threshold=limit,
        at_most=True,
        what=f"Median churn of the Top-{churn['k']} between rebalances ({key} sessions)",
    )


def _regime_condition(judgement: Judgement, rules: GateRules) -> Condition:
    horizons = judgement.metrics["horizons"]
    enough = {int(key) for key in horizons if not _shortage(key, horizons[key], rules)}
    return no_regime_below_zero(
        [row for row in judgement.metrics["regimes"] if row["horizon"] in enough]
    )


def _form(name: str, numbers: dict[str, Any], conditions: list[Condition]) -> Gate:
    order = {FAIL: 0, INCONCLUSIVE: 1, PASS: 2}
    spoken = sorted(conditions, key=lambda item: order[item.verdict])
    reasons = [reason for item in spoken for reason in item.reasons]
    return {
        "name": name,
        "verdict": combine(conditions),
        "numbers": numbers,
        "conditions": [item.to_json() for item in conditions],
        "reasons": list(dict.fromkeys(reasons)),
    }


def _hold(gate: Gate, reason: str) -> Gate:
    """The gate with its numbers shown and nothing decided, for one reason before all others."""
    conditions = [{**item, "verdict": INCONCLUSIVE} for item in gate["conditions"]]
    reasons = [reason, *(other for other in gate["reasons"] if other == _NO_BASELINE)]
    return {**gate, "verdict": INCONCLUSIVE, "conditions": conditions, "reasons": reasons}


def _shortage_everywhere(judgement: Judgement, rules: GateRules) -> str | None:
    horizons = judgement.metrics["horizons"]
    found = [_shortage(key, figures, rules) for key, figures in horizons.items()]
    if not found:
        return "There is no date outside the model's training period to judge."
    if not all(found):
        return None
    dates = max(figures["n_dates"] for figures in horizons.values())
    names = max(figures["n_names_median"] or 0 for figures in horizons.values())
    reasons = []
    if dates and names < rules.sample.names:
        reasons.append(f"{names:g} names a date, {rules.sample.names} are needed.")
    if dates < rules.sample.dates:
        reasons.append(f"{dates} judged dates, {rules.sample.dates} are needed.")
    return " ".join(reasons or [reason for reason in found if reason])


def _shortage(key: str, figures: dict[str, Any], rules: GateRules) -> str | None:
    """Why this horizon decides nothing, or None where it has enough names and dates."""
    dates, names = figures["n_dates"], figures["n_names_median"] or 0
    if dates < rules.sample.dates:
        return f"{dates} judged dates at {key} sessions, {rules.sample.dates} are needed."
    if names < rules.sample.names:
        return f"{names:g} names a date at {key} sessions, {rules.sample.names} are needed."
    return None


def _per_horizon(horizons: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: {key: figures[name] for key, figures in horizons.items()} for name in names}


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"

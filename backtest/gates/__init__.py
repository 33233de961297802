"""The three gates: from figures with intervals to PASS, FAIL or INCONCLUSIVE.

1. ``backtest.gates.conditions`` compares one figure with one threshold
2. ``factor``, ``learned``, ``practical`` collect the conditions of a gate
3. ``combine`` forms the gate's verdict: FAIL dominates, then INCONCLUSIVE
4. ``evaluate_gates`` holds everything back when the training period is unknown
"""

from __future__ import annotations

from typing import Any, Literal

import polars as pl

from ..judgement import Judgement
from .conditions import FAIL, INCONCLUSIVE, PASS, Condition, combine
from .factor import factor_gate
from .learned import NO_BASELINE, ml_gate, ml_threshold
from .practical import practical_gate
from .rules import GateRules, parse_gate_rules

__all__ = ["GateRules", "TrainingPeriod", "evaluate_gates", "ml_threshold", "parse_gate_rules"]

TrainingPeriod = Literal["known", "unknown", "none"]
Gate = dict[str, Any]

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
        _form("factor", *factor_gate(judgement, rules)),
        _form("ml", *ml_gate(judgement, rules, baseline)),
        _form("practical", *practical_gate(judgement, rules)),
    ]
    missing = rules.sample.shortage_everywhere(judgement.metrics["horizons"])
    if missing:
        gates = [_hold(gate, missing) for gate in gates]
    if training_period == "unknown":
        gates = [_hold(gate, _UNKNOWN) for gate in gates]
    return {"version": 1, "gates": gates}


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
    reasons = [reason, *(other for other in gate["reasons"] if other == NO_BASELINE)]
    return {**gate, "verdict": INCONCLUSIVE, "conditions": conditions, "reasons": reasons}

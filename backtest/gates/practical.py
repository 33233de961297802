"""Gate 3: is something left after churn, costs and bad regimes?"""

from __future__ import annotations

from typing import Any

from ..judgement import Judgement
from .conditions import Condition, above, no_regime_below_zero, per_horizon, point, undecided
from .rules import GateRules

__all__ = ["practical_gate"]


def practical_gate(
    judgement: Judgement, rules: GateRules
) -> tuple[dict[str, Any], list[Condition]]:
    """Numbers and conditions, on the longer half of the horizons."""
    horizons = judgement.metrics["horizons"]
    longer = dict(list(horizons.items())[len(horizons) // 2 :])
    conditions = [_churn_condition(judgement, rules)]
    for key, figures in longer.items():
        conditions += _horizon_conditions(key, figures, rules)
    conditions.append(_regime_condition(judgement, rules))
    numbers = {
        "churn_median": judgement.metrics["churn"]["rebalance_median"],
        "k": judgement.metrics["churn"]["k"],
        **per_horizon(longer, "cost_survival", "net_excess_mean", "breakeven_bps"),
        "regimes_judged": sum(not row["thin"] for row in judgement.metrics["regimes"]),
    }
    return numbers, conditions


def _horizon_conditions(key: str, figures: dict[str, Any], rules: GateRules) -> list[Condition]:
    limits, missing = rules.practical, rules.sample.shortage(key, figures)
    survival = point(
        f"cost survival ≥ {limits.cost_survival:.0%} at {key} sessions",
        figures["cost_survival"],
        threshold=limits.cost_survival,
        at_most=False,
        what=f"Share of folds with a positive net excess at {key} sessions",
        missing=missing,
    )
    excess = above(
        f"mean net excess > {limits.net_excess:g} at {key} sessions",
        figures["net_excess_mean"],
        figures["net_excess_ci95"],
        threshold=limits.net_excess,
        strict=True,
        what=f"Mean Top-K net excess at {key} sessions",
        missing=missing,
    )
    return [survival, excess]


def _churn_condition(judgement: Judgement, rules: GateRules) -> Condition:
    horizons = judgement.metrics["horizons"]
    limit = rules.practical.churn
    name = f"median churn ≤ {limit:.2f}"
    if not horizons:
        return undecided(name, "There is no horizon to judge.", threshold=limit)
    key, churn = list(horizons)[-1], judgement.metrics["churn"]
    return point(
        name,
        churn["rebalance_median"],
        threshold=limit,
        at_most=True,
        what=f"Median churn of the Top-{churn['k']} between rebalances ({key} sessions)",
        missing=rules.sample.shortage(key, horizons[key]),
    )


def _regime_condition(judgement: Judgement, rules: GateRules) -> Condition:
    horizons = judgement.metrics["horizons"]
    enough = {int(key) for key in horizons if not rules.sample.shortage(key, horizons[key])}
    return no_regime_below_zero(
        [row for row in judgement.metrics["regimes"] if row["horizon"] in enough]
    )

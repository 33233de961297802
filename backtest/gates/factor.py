"""Gate 1: does the score rank returns, and is it more than a known factor?"""

from __future__ import annotations

from typing import Any

from ..judgement import Judgement
from .conditions import Condition, above, at_least, below_in_size, combine, per_horizon
from .rules import GateRules

__all__ = ["factor_gate"]


def factor_gate(judgement: Judgement, rules: GateRules) -> tuple[dict[str, Any], list[Condition]]:
    """Numbers and conditions."""
    horizons = judgement.metrics["horizons"]
    passing = _rank_ic_on_horizons(horizons, rules, value="rank_ic_mean", interval="ci95")
    redundant = [_redundancy(key, figures, rules) for key, figures in horizons.items()]
    remark = _next_open_remark(judgement, rules, passing, redundant)
    conditions = [passing[0].adding(remark), *passing[1:], *redundant]
    numbers = per_horizon(
        horizons, "n_dates", "n_names_median", "rank_ic_mean", "rank_ic_next_open", "redundancy"
    )
    return numbers, conditions


def _redundancy(key: str, figures: dict[str, Any], rules: GateRules) -> Condition:
    limit = rules.factor.redundancy
    return below_in_size(
        f"|redundancy| < {limit:g} at {key} sessions",
        figures["redundancy"],
        figures["redundancy_ci95"],
        threshold=limit,
        what=f"Correlation with 12-month momentum at {key} sessions",
        missing=rules.sample.shortage(key, figures),
    )


def _rank_ic_on_horizons(
    horizons: dict[str, Any], rules: GateRules, *, value: str, interval: str
) -> list[Condition]:
    """The "at least k horizons" condition, followed by its parts."""
    limit = rules.factor.rank_ic
    parts = [
        above(
            f"RankIC ≥ {limit:g} at {key} sessions",
            figures[value],
            figures[interval],
            threshold=limit,
            what=f"Mean RankIC at {key} sessions ({figures['n_dates']} dates)",
            missing=rules.sample.shortage(key, figures),
        )
        for key, figures in horizons.items()
    ]
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


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"

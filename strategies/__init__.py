"""Cross-sectional scores to target weights.

A strategy is a composition of small pure steps on a score frame: select, weigh, constrain,
schedule. Shipped ones have a name; ``composed`` takes the steps themselves.

    >>> from strategies import build_strategy
    >>> build_strategy("long_short_quantile", quantile=0.1).quantile
    0.1
    >>> build_strategy("composed", select={"step": "top_k", "k": 5}, weigh="equal", net=1.0).net
    1.0
"""

from __future__ import annotations

import dataclasses
from typing import Any

from .base import Step, Strategy
from .checks import nearest, needs_columns
from .compose import STEPS, Composed, build_composed
from .constrain import check_weights
from .shipped import SHIPPED, LongShortQuantile

__all__ = [
    "STEPS",
    "Composed",
    "LongShortQuantile",
    "Step",
    "Strategy",
    "build_strategy",
    "check_weights",
    "needs_columns",
    "strategy_names",
    "strategy_parameters",
]

COMPOSED = "composed"


def strategy_names() -> list[str]:
    """Names accepted by :func:`build_strategy`, sorted."""
    return sorted([*SHIPPED, COMPOSED])


def strategy_parameters(name: str) -> dict[str, Any]:
    """Parameters of a strategy with their defaults. Raises ValueError for an unknown name."""
    return {
        field.name: None if field.default is dataclasses.MISSING else field.default
        for field in dataclasses.fields(_strategy_class(name))
    }


def build_strategy(name: str, **parameters: Any) -> Strategy:
    """The named strategy with its parameters.

    Raises ValueError naming the key (``strategy.name``, ``strategy.quantile`` …) and the rule for
    an unknown name, an unknown parameter or a value out of range.
    """
    if name == COMPOSED:
        return build_composed(parameters)
    known = strategy_parameters(name)
    for key in parameters:
        if key not in known:
            raise ValueError(
                f"strategy.{key}: {name} has no such parameter;{nearest(key, known)}"
                f" its parameters: {', '.join(known)}"
            )
    return _strategy_class(name)(**parameters)


def _strategy_class(name: str) -> Any:
    if name == COMPOSED:
        return Composed
    if name not in SHIPPED:
        raise ValueError(
            f"strategy.name: no strategy {name!r};{nearest(name, SHIPPED)}"
            f" known: {', '.join(strategy_names())}"
        )
    return SHIPPED[name]

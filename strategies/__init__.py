"""Cross-sectional scores to target weights.

A strategy is a composition of small pure steps on a score frame: select, weigh, constrain.

    >>> from strategies import build_strategy
    >>> build_strategy("long_short_quantile", quantile=0.1).quantile
    0.1
"""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from .base import Strategy
from .constrain import check_weights
from .long_short import LongShortQuantile

__all__ = [
    "LongShortQuantile",
    "Strategy",
    "build_strategy",
    "check_weights",
    "strategy_names",
    "strategy_parameters",
]

_STRATEGIES: dict[str, type] = {"long_short_quantile": LongShortQuantile}


def strategy_names() -> list[str]:
    """Names accepted by :func:`build_strategy`, sorted."""
    return sorted(_STRATEGIES)


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
    known = strategy_parameters(name)
    for key in parameters:
        if key not in known:
            raise ValueError(
                f"strategy.{key}: {name} has no such parameter;{_nearest(key, known)}"
                f" its parameters: {', '.join(known)}"
            )
    return _strategy_class(name)(**parameters)


def _strategy_class(name: str) -> type:
    if name not in _STRATEGIES:
        raise ValueError(
            f"strategy.name: no strategy {name!r};{_nearest(name, _STRATEGIES)}"
            f" known: {', '.join(strategy_names())}"
        )
    return _STRATEGIES[name]


def _nearest(word: str, known: Any) -> str:
    matches = difflib.get_close_matches(str(word), [str(key) for key in known], n=1)
    return f" did you mean {matches[0]!r}?" if matches else ""

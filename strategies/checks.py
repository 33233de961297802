"""Rules for parameters; a message names the parameter, its value, the rule, the nearest name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable

import polars as pl

__all__ = ["at_least", "fraction", "nearest", "needs_columns", "positive", "whole"]


def positive(name: str, value: object) -> None:
    """Raises ValueError unless the value is a finite number above zero."""
    if not _is_number(value) or not 0 < value < math.inf:  # type: ignore[operator]
        raise ValueError(f"strategy.{name}: {value!r} must be a positive finite number")


def at_least(name: str, value: object, low: float) -> None:
    """Raises ValueError unless the value is a finite number at or above ``low``."""
    if not _is_number(value) or not low <= value < math.inf:  # type: ignore[operator]
        raise ValueError(f"strategy.{name}: {value!r} must be a finite number, at least {low:g}")


def fraction(name: str, value: object, *, below: float = 1.0, why: str = "") -> None:
    """Raises ValueError unless the value is above 0 and at most ``below``."""
    if not _is_number(value) or not 0 < value <= below:  # type: ignore[operator]
        raise ValueError(f"strategy.{name}: {value!r} must be above 0 and at most {below:g}{why}")


def whole(name: str, value: object, low: int = 1, *, unit: str = "") -> None:
    """Raises ValueError unless the value is an int at or above ``low``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ValueError(f"strategy.{name}: {value!r} must be a whole number{unit}, at least {low}")


def needs_columns(frame: pl.DataFrame, *columns: str, step: str) -> None:
    """Raises ValueError naming the column a step reads and the frame does not have."""
    for column in columns:
        if not isinstance(column, str):
            raise ValueError(f"strategy step {step!r}: {column!r} must be the name of a column")
        if column in frame.columns:
            continue
        if column.startswith("label") or column in ("total_return", "matures", "mature"):
            raise ValueError(
                f"strategy step {step!r} reads {column!r}: labels are of the future and no "
                "strategy sees them"
            )
        raise ValueError(
            f"strategy step {step!r} reads {column!r}, which the score frame does not have; add it "
            f"to `features` (it has: {', '.join(frame.columns)})"
        )


def nearest(word: object, known: Iterable[object]) -> str:
    """`` did you mean 'x'?`` or nothing."""
    matches = difflib.get_close_matches(str(word), [str(key) for key in known], n=1)
    return f" did you mean {matches[0]!r}?" if matches else ""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value

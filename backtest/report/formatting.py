"""Numbers as text: digits that the data support, percent for returns, bps for costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

__all__ = [
    "NA",
    "Formatter",
    "bps",
    "count",
    "decimal",
    "interval",
    "is_number",
    "number",
    "percent",
    "share",
    "told_apart",
]

NA = "n/a"
Formatter = Callable[[Any], str]


def is_number(value: object) -> TypeGuard[float]:
    """True for a finite number; False for None, NaN, infinities, booleans and text."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _fixed(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def number(digits: int) -> Formatter:
    """A formatter with `digits` decimals; anything that is not a finite number gives ``n/a``."""
    return lambda value: _fixed(value, digits) if is_number(value) else NA


decimal = number(3)


def count(value: Any) -> str:
    """Whole numbers with thousands separators; a median of counts may end in .5."""
    if not is_number(value):
        return NA
    return _fixed(value, 0 if float(value).is_integer() else 1)


def percent(value: Any) -> str:
    """A return or rate: two decimals below 10 %, one above."""
    if not is_number(value):
        return NA
    return _fixed(100 * value, 2 if abs(value) < 0.1 else 1) + "%"


def share(value: Any) -> str:
    """A share of dates or folds, in whole percent."""
    return _fixed(100 * value, 0) + "%" if is_number(value) else NA


def bps(value: Any) -> str:
    """Basis points."""
    return _fixed(value, 1 if abs(value) < 100 else 0) + " bps" if is_number(value) else NA


def interval(bounds: Sequence[Any] | None, formatter: Formatter) -> str:
    """``[low, high]``, or an empty string when either bound is missing."""
    if not isinstance(bounds, Sequence) or len(bounds) != 2 or not all(map(is_number, bounds)):
        return ""
    return f"[{formatter(bounds[0])}, {formatter(bounds[1])}]"


def told_apart(value: float, threshold: float, *, digits: int, scale: float = 1.0) -> str:
    """`value` with enough decimals that rounding does not make it equal to `threshold`."""
    for extra in range(digits, digits + 4):
        text = _fixed(scale * value, extra)
        if value == threshold or text != _fixed(scale * threshold, extra):
            return text
    return text

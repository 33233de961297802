"""What a split or a dividend does to a position."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from engine.live.brokers.bar_book import Action
from engine.live.brokers.paper.ledger import MILLIONTHS, NANOS, Holding

__all__ = ["apply_action", "is_split"]

# adj_factor does not say what changed it: no dividend is a sixth of the price and no split that
# small, but for rare ones, where both ways leave the same wealth.
_LEAST_SPLIT = 1.2
_MOST_PARTS = 20
_NEAR = 0.01


def is_split(action: Action) -> bool:
    """Whether shares change, and not only cash is paid."""
    return abs(math.log(action.ratio)) > math.log(_LEAST_SPLIT) - 1e-9


def apply_action(held: Holding, action: Action) -> tuple[Holding, int]:
    """The position after it, and what it pays in millionths (shorts: below 0).

    A dividend pays close·(1 − 1/ratio) a share. A split multiplies shares by the nearest ratio of
    small numbers; what the ratio is besides is paid like a dividend of the same day, and what
    remains of whole shares as a fraction is paid in cash at the adjusted close before.
    """
    if not is_split(action):
        dividend = action.close_before * (1 - 1 / action.ratio)
        return _acted(held, action), _paid(held.nanos, dividend)
    near = Fraction(action.ratio).limit_denominator(_MOST_PARTS)
    shares = near if abs(float(near) / action.ratio - 1) < _NEAR else Fraction(action.ratio)
    rest = action.ratio / float(shares)
    price = action.close_before / float(shares)
    exact = held.nanos * shares
    nanos = round(exact)
    if held.nanos % NANOS == 0:
        nanos = math.trunc(exact / NANOS) * NANOS
    paid = _paid(nanos, price * (1 - 1 / rest)) + _paid(round(exact) - nanos, price)
    after = replace(
        _acted(held, action),
        nanos=nanos,
        average=held.average / float(shares),
        mark=held.mark / float(shares),
    )
    return after, paid


def _acted(held: Holding, action: Action) -> Holding:
    return replace(held, acted=action.date)


def _paid(nanos: int, per_share: float) -> int:
    return round(nanos / NANOS * per_share * MILLIONTHS)

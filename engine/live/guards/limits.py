"""Limits on the target weights and on the orders that lead to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.live.guards.event import GuardEvent, listed, tripped
from engine.live.state.orders import PlannedOrder

__all__ = ["gross_limit", "name_limit", "order_count", "turnover_limit"]

_EPSILON = 1e-9


def gross_limit(weights: Mapping[str, float], *, limit: float) -> list[GuardEvent]:
    """Σ|w| is above the limit."""
    gross = sum(map(abs, weights.values()))
    if gross <= limit + _EPSILON:
        return []
    return tripped(
        "gross", f"target weights add up to {gross:.4g}; live.guards.max_gross is {limit:g}"
    )


def name_limit(weights: Mapping[str, float], *, limit: float) -> list[GuardEvent]:
    """A name's |w| is above the limit."""
    above = {name: w for name, w in sorted(weights.items()) if abs(w) > limit + _EPSILON}
    if not above:
        return []
    shown = [f"{name} {weight:+.4g}" for name, weight in above.items()]
    return tripped(
        "name_weight",
        f"target weights beyond live.guards.max_name_weight {limit:g}: {listed(shown)}",
        list(above),
    )


def turnover_limit(
    orders: Sequence[PlannedOrder], equity: float, *, limit: float
) -> list[GuardEvent]:
    """Σ|order value| / 2 / equity is above the limit."""
    if equity <= 0:
        return tripped("turnover", f"the account's equity is {equity:,.2f}: nothing to trade with")
    traded = sum(planned.order.quantity * planned.reference for planned in orders)
    turnover = traded / 2 / equity
    if turnover <= limit + _EPSILON:
        return []
    return tripped(
        "turnover",
        f"the orders would turn over {turnover:.4g} of equity; "
        f"live.guards.max_turnover is {limit:g}",
    )


def order_count(orders: Sequence[PlannedOrder], *, limit: int) -> list[GuardEvent]:
    """More orders than allowed."""
    if len(orders) <= limit:
        return []
    return tripped("order_count", f"{len(orders)} orders; live.guards.max_orders is {limit}")

"""Target weights to orders: pure, and the same orders for the same input.

1. `target_quantities` turns weights into shares at the quotes' mids, whole where they must be.
2. `plan_orders` takes what is held away, leaves out what cannot or need not be traded, and puts
   sells before buys.
3. `client_id` names each order by what it is for, so that planning again names it alike.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

import polars as pl

from engine.live.brokers.broker import CLOSED, Asset, Order, OrderStatus, Position, Side

__all__ = [
    "FILLS",
    "Leg",
    "OrderPlan",
    "OrderRecord",
    "PlannedOrder",
    "client_id",
    "next_attempt",
    "plan_hash",
    "plan_orders",
]

# A millionth of a share: brokers keep fractions to nine digits, floats drift in the twelfth.
_FRACTION_DIGITS = 6
_EPSILON = 1e-9

SELLS, BUYS, OPENINGS = 0, 1, 2
Leg = Literal["whole", "close", "open"]
FILLS = pl.Schema(
    {
        "session": pl.Date,
        "ticker": pl.String,
        "side": pl.String,
        "quantity": pl.Float64,
        "price": pl.Float64,
        "reference": pl.Float64,
    }
)
"""Executions: `price`, and `reference`, the decision's close, as recorded on their days."""


@dataclass(frozen=True)
class PlannedOrder:
    """An order and its place in a plan.

    Attributes
    ----------
    stage
        Orders of a stage are sent when those of the stages before are closed.
    leg
        `close` and `open` are the two halves of a change from long to short or back, for brokers
        that refuse it in one order; `whole` is any other order.
    attempt
        1, and one more for each time the broker rejected it.
    rank
        The order of sending within a stage.
    reference
        The price it was sized with, the mid of its quote.
    """

    order: Order
    session: date
    stage: int
    leg: Leg
    attempt: int
    rank: int
    plan_hash: str
    reference: float


@dataclass(frozen=True)
class OrderRecord:
    """A planned order and the broker's last word on it; `sent` is when it was about to be."""

    planned: PlannedOrder
    status: OrderStatus
    filled: float
    average_price: float | None
    broker_id: str | None
    reason: str | None
    created: datetime
    sent: datetime | None
    updated: datetime | None

    @property
    def order(self) -> Order:
        """What is sent."""
        return self.planned.order

    @property
    def closed(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.status in CLOSED


@dataclass(frozen=True)
class OrderPlan:
    """Orders in the order of sending, and why names are not traded to their target."""

    orders: list[PlannedOrder]
    left_out: dict[str, str]


def plan_hash(asof: date, weights: Mapping[str, float], config_hash: str) -> str:
    """SHA-256 hex of what a plan was decided on and what it decided."""
    content = [asof.isoformat(), sorted(weights.items()), config_hash]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def client_id(
    session: date, ticker: str, side: Side, plan: str, attempt: int, leg: Leg = "whole"
) -> str:
    """The order's id: the same for the same order, and no other order's."""
    content = json.dumps([session.isoformat(), ticker, side, plan, attempt, leg])
    return f"{session:%Y%m%d}-{hashlib.sha256(content.encode()).hexdigest()[:32]}"


def plan_orders(
    weights: Mapping[str, float],
    *,
    session: date,
    plan: str,
    equity: float,
    positions: Mapping[str, Position],
    prices: Mapping[str, float],
    assets: Mapping[str, Asset],
    whole_shares: bool,
    min_order_value: float,
    split_crossing: bool,
) -> OrderPlan:
    """Orders that bring `positions` to `weights` of `equity`.

    Names that are held and have no weight are closed. With `split_crossing` a change from long to
    short, or back, is an order to close and one to open, sent when the first is filled.

    Parameters
    ----------
    weights
        Ticker to target weight; shorts negative.
    plan
        The plan's hash.
    prices
        Ticker to the mid of its quote; a name without one is left out.
    assets
        What the broker allows; a name it does not know is left out.
    whole_shares
        Shares are cut towards zero everywhere, not only where the broker takes no fractions.
        Shorts are whole in any case. A position that is closed is closed to its last fraction.
    min_order_value
        Orders below it are left out.
    """
    found: list[PlannedOrder] = []
    left_out: dict[str, str] = {}
    for ticker in sorted({*weights, *positions}):
        held = positions[ticker].quantity if ticker in positions else 0.0
        weight = weights.get(ticker, 0.0)
        reason = _untradable(assets.get(ticker), prices.get(ticker))
        if reason:
            if weight or held:
                left_out[ticker] = reason
            continue
        asset, price = assets[ticker], prices[ticker]
        if weight < 0 and not asset.shortable:
            left_out[ticker] = "not shortable: no position instead of a short one"
            weight = 0.0
        target = _shares(weight * equity / price, asset, whole_shares=whole_shares)
        change = round(target - held, _FRACTION_DIGITS)
        if abs(change) < _EPSILON:
            continue
        value = abs(change) * price
        if value < min_order_value:
            left_out[ticker] = (
                f"an order of {value:,.2f} is below live.guards.min_order_value {min_order_value:g}"
            )
            continue
        for side, quantity, leg, stage in _legs(held, target, change, split=split_crossing):
            order = Order(client_id(session, ticker, side, plan, 1, leg), ticker, side, quantity)
            found.append(PlannedOrder(order, session, stage, leg, 1, 0, plan, price))
    found.sort(key=lambda planned: (planned.stage, planned.order.ticker))
    return OrderPlan([replace(planned, rank=rank) for rank, planned in enumerate(found)], left_out)


def next_attempt(record: OrderRecord) -> PlannedOrder:
    """The same order once more, under another id, after a rejection."""
    planned = record.planned
    attempt, order = planned.attempt + 1, planned.order
    name = client_id(
        planned.session, order.ticker, order.side, planned.plan_hash, attempt, planned.leg
    )
    return replace(planned, order=replace(order, client_id=name), attempt=attempt)


def _untradable(asset: Asset | None, price: float | None) -> str | None:
    if asset is None:
        return "the broker does not know it"
    if not asset.tradable:
        return "not tradable at the broker"
    return None if price else "no quote"


def _shares(quantity: float, asset: Asset, *, whole_shares: bool) -> float:
    """Cut towards zero, so that no weight is exceeded."""
    if whole_shares or not asset.fractionable or quantity < 0:
        return float(math.trunc(quantity + math.copysign(_EPSILON, quantity)))
    scale = 10**_FRACTION_DIGITS
    return math.trunc(quantity * scale) / scale


def _legs(
    held: float, target: float, change: float, *, split: bool
) -> list[tuple[Side, float, Leg, int]]:
    """(side, quantity, leg, stage) of the orders from `held` to `target`."""
    side: Side = "buy" if change > 0 else "sell"
    first = BUYS if change > 0 else SELLS
    if split and held * target < 0:
        return [(side, abs(held), "close", first), (side, abs(target), "open", OPENINGS)]
    return [(side, abs(change), "whole", first)]

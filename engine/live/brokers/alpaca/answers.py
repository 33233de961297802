"""What Alpaca's JSON says, in `engine.live.brokers.broker`.

Numbers come as text; a quantity of a short position may come with its sign or only with its side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from engine.live.brokers.broker import (
    Account,
    Asset,
    BrokerError,
    Fill,
    OrderReport,
    OrderStatus,
    Position,
    Side,
)

__all__ = ["account", "asset", "fill", "position", "quote", "read", "report"]

T = TypeVar("T")
Json = Mapping[str, Any]

# An order that is done for the day will not be filled: ours are good for the day only. A replaced
# one lives on under another id, which is not ours. All others are still open.
_STATUS: dict[str, OrderStatus] = {
    "filled": "filled",
    "canceled": "canceled",
    "replaced": "canceled",
    "expired": "expired",
    "done_for_day": "expired",
    "rejected": "rejected",
}
_OPEN = frozenset(
    {
        "new",
        "accepted",
        "pending_new",
        "partially_filled",
        "accepted_for_bidding",
        "pending_cancel",
        "pending_replace",
        "pending_review",
        "stopped",
        "suspended",
        "calculated",
        "held",
    }
)


def read(what: str, parse: Callable[[Json], T], raw: Json) -> T:
    """`parse(raw)`.

    Raises
    ------
    BrokerError
        `raw` is not as agreed; names the field.
    """
    try:
        return parse(raw)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BrokerError(f"alpaca: {what}: its answer is not understood ({error!r})") from None


def account(raw: Json) -> Account:
    """Blocked is any of Alpaca's ways to say that no order is taken."""
    flags = ("trading_blocked", "account_blocked", "trade_suspended_by_user")
    blocked = any(raw.get(flag) for flag in flags) or raw["status"] != "ACTIVE"
    return Account(_number(raw["equity"]), _number(raw["cash"]), blocked)


def position(raw: Json) -> Position:
    """Negative for short ones."""
    quantity = abs(_number(raw["qty"]))
    signed = -quantity if raw["side"] == "short" else quantity
    return Position(str(raw["symbol"]), signed, _number(raw["avg_entry_price"]))


def asset(raw: Json) -> Asset:
    """Shortable without asking a desk first; an asset that is not active is halted."""
    active = raw["status"] == "active"
    return Asset(
        ticker=str(raw["symbol"]),
        tradable=bool(raw["tradable"]) and active,
        shortable=bool(raw["shortable"]) and bool(raw["easy_to_borrow"]),
        fractionable=bool(raw["fractionable"]),
        halted=not active,
    )


def report(raw: Json) -> OrderReport:
    """An order; a status that Alpaca may invent tomorrow counts as open and is the reason."""
    word = str(raw["status"])
    filled, average = _number(raw["filled_qty"] or 0), raw.get("filled_avg_price")
    status = _STATUS.get(word, "partially_filled" if filled else "accepted")
    plain = word in _OPEN or word == status
    replaced = raw.get("replaced_by")
    return OrderReport(
        client_id=str(raw["client_order_id"]),
        broker_id=str(raw["id"]),
        ticker=str(raw["symbol"]),
        side=_side(raw["side"]),
        quantity=_number(raw["qty"]),
        filled=filled,
        average_price=None if average is None or not filled else _number(average),
        status=status,
        updated=_time(raw.get("updated_at") or raw["created_at"]),
        reason=None if plain else f"{word} by {replaced}" if replaced else word,
    )


def fill(raw: Json, client_id: str) -> Fill:
    """An activity FILL. Alpaca charges no commission; fees of regulators are booked apart."""
    return Fill(
        fill_id=str(raw["id"]),
        client_id=client_id,
        ticker=str(raw["symbol"]),
        side=_side(raw["side"]),
        quantity=_number(raw["qty"]),
        price=_number(raw["price"]),
        ts=_time(raw["transaction_time"]),
    )


def quote(raw: Json) -> tuple[datetime, float, float] | None:
    """Time, bid, ask; None for a quote that lacks a side."""
    bid, ask = _number(raw["bp"]), _number(raw["ap"])
    return (_time(raw["t"]), bid, ask) if bid > 0 and ask > 0 else None


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no number")
    return number


def _side(value: Any) -> Side:
    if value in ("buy", "sell", "sell_short"):
        return "buy" if value == "buy" else "sell"
    raise ValueError(f"{value} is no side")


def _time(value: Any) -> datetime:
    moment = datetime.fromisoformat(str(value))  # digits beyond microseconds are cut
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)

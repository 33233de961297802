"""Alpaca's JSON: orders, positions, fills, assets and quotes with its own field names and types."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from engine.live.brokers.broker import OrderReport
from engine.live.brokers.paper.ledger import NANOS

__all__ = [
    "account_json",
    "activity_json",
    "asset_json",
    "order_json",
    "position_json",
    "quote_json",
    "uuid_of",
]

_NAMES = uuid.UUID("6f0c5a4e-96c5-4f43-9b5e-0d2f5d1b6a11")


def uuid_of(*parts: str) -> str:
    """The same for the same parts."""
    return str(uuid.uuid5(_NAMES, "/".join(parts)))


def account_json(numbers: Mapping[str, str]) -> dict[str, Any]:
    """An active margin account; `numbers` are its sums of money."""
    return {
        "id": uuid_of("account", "it"),
        "account_number": "PA0000000001",
        "status": "ACTIVE",
        "currency": "USD",
        "pattern_day_trader": False,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": False,
        "shorting_enabled": True,
        "daytrade_count": 0,
        "created_at": "2020-01-01T00:00:00Z",
        **numbers,
    }


def asset_json(ticker: str) -> dict[str, Any]:
    """A stock with which everything may be done."""
    return {
        "id": uuid_of("asset", ticker),
        "class": "us_equity",
        "exchange": "NYSE",
        "symbol": ticker,
        "name": f"{ticker} Common Stock",
        "status": "active",
        "tradable": True,
        "marginable": True,
        "maintenance_margin_requirement": 30,
        "shortable": True,
        "easy_to_borrow": True,
        "fractionable": True,
        "attributes": [],
    }


def quote_json(ts: datetime, bid: float, ask: float) -> dict[str, Any]:
    """Of the data API: its numbers are numbers."""
    return {
        "t": _stamp(ts),
        "ax": "V",
        "ap": ask,
        "as": 2,
        "bx": "V",
        "bp": bid,
        "bs": 2,
        "c": ["R"],
        "z": "A",
    }


def position_json(ticker: str, quantity: float, average: float, mark: float) -> dict[str, Any]:
    """Signed quantities, as text."""
    cost, value = quantity * average, quantity * mark
    text = {
        "qty": quantity,
        "qty_available": quantity,
        "avg_entry_price": average,
        "market_value": value,
        "cost_basis": cost,
        "unrealized_pl": value - cost,
        "unrealized_plpc": (value - cost) / abs(cost),
        "unrealized_intraday_pl": 0.0,
        "unrealized_intraday_plpc": 0.0,
        "current_price": mark,
        "lastday_price": mark,
        "change_today": 0.0,
    }
    return {
        "asset_id": uuid_of("asset", ticker),
        "symbol": ticker,
        "exchange": "NYSE",
        "asset_class": "us_equity",
        "asset_marginable": True,
        "side": "long" if quantity > 0 else "short",
        **{name: repr(number) for name, number in text.items()},
    }


def order_json(
    request: Mapping[str, Any],
    at: datetime,
    report: OrderReport,
    part: Fraction,
    shown: int,
    *,
    at_first: bool,
) -> dict[str, Any]:
    """An order sent `at`, of whose fills a `part` is shown, `shown` fills by now.

    `at_first`: as it was when it had been taken.
    """
    filled = int(round(report.filled * NANOS) * part)
    status: str = "accepted" if at_first else report.status
    if report.status == "filled" and part < 1:
        status = "partially_filled" if filled else "new"
    first = at_first or status == "new" or report.updated < at
    updated = at if first else report.updated + timedelta(microseconds=shown)
    limit = request.get("limit_price")
    ends = {"filled": "filled_at", "expired": "expired_at", "canceled": "canceled_at"}
    times = {name: None for name in (*ends.values(), "failed_at", "replaced_at")}
    if status in ends:
        times[ends[status]] = _stamp(updated)  # type: ignore[assignment]
    return {
        "id": uuid_of("order", report.client_id),
        "client_order_id": report.client_id,
        "created_at": _stamp(at),
        "updated_at": _stamp(updated),
        "submitted_at": _stamp(at),
        **times,
        "replaced_by": None,
        "replaces": None,
        "asset_id": uuid_of("asset", report.ticker),
        "symbol": report.ticker,
        "asset_class": "us_equity",
        "notional": None,
        "qty": repr(report.quantity),
        "filled_qty": repr(filled / NANOS),
        "filled_avg_price": repr(report.average_price) if filled else None,
        "order_class": "",
        "order_type": request.get("type"),
        "type": request.get("type"),
        "side": report.side,
        "time_in_force": request.get("time_in_force"),
        "limit_price": None if limit is None else str(limit),
        "stop_price": None,
        "status": status,
        "extended_hours": False,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
    }


def activity_json(
    report: OrderReport, part: int, before: int, so_far: int, total: int
) -> dict[str, Any]:
    """The fill number `part` of an order, from `before` to `so_far` of `total` billionths."""
    when = report.updated + timedelta(microseconds=part)
    return {
        "id": f"{when:%Y%m%d%H%M%S}{when.microsecond // 1000:03d}::"
        f"{uuid_of('fill', report.client_id, str(part))}",
        "account_id": uuid_of("account", "it"),
        "activity_type": "FILL",
        "transaction_time": _stamp(when),
        "type": "fill" if so_far == total else "partial_fill",
        "price": repr(report.average_price),
        "qty": repr((so_far - before) / NANOS),
        "side": report.side,
        "symbol": report.ticker,
        "leaves_qty": repr((total - so_far) / NANOS),
        "order_id": uuid_of("order", report.client_id),
        "cum_qty": repr(so_far / NANOS),
        "order_status": "filled" if so_far == total else "partially_filled",
    }


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")

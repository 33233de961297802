"""What the live engine and a broker say to each other.

Quantities are shares, positive for long and negative for short; prices and money are in the
account's currency; times are UTC with a zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

__all__ = [
    "CLOSED",
    "QUOTES",
    "Account",
    "Asset",
    "Fill",
    "Order",
    "OrderReport",
    "OrderStatus",
    "Position",
    "Side",
]

Side = Literal["buy", "sell"]
# planned: written down, perhaps not sent; the rest is the broker's word.
OrderStatus = Literal[
    "planned", "accepted", "partially_filled", "filled", "canceled", "expired", "rejected"
]
CLOSED: frozenset[OrderStatus] = frozenset({"filled", "canceled", "expired", "rejected"})

QUOTES = pl.Schema(
    [
        ("ticker", pl.String),
        ("ts", pl.Datetime("us", "UTC")),
        ("bid", pl.Float64),
        ("ask", pl.Float64),
    ]
)


@dataclass(frozen=True)
class Account:
    """Money of the account: `equity` = `cash` + the market value of all positions."""

    equity: float
    cash: float
    blocked: bool = False


@dataclass(frozen=True)
class Position:
    """What is held of one ticker, and what a share cost on average."""

    ticker: str
    quantity: float
    average_price: float


@dataclass(frozen=True)
class Asset:
    """What the broker lets one do with a ticker now."""

    ticker: str
    tradable: bool
    shortable: bool
    fractionable: bool
    halted: bool = False


@dataclass(frozen=True)
class Order:
    """An order as it is sent.

    `client_id` makes sending it again harmless: a broker takes an id once. `limit` None: at the
    market. `quantity` is positive; `side` says which way.
    """

    client_id: str
    ticker: str
    side: Side
    quantity: float
    limit: float | None = None


@dataclass(frozen=True)
class OrderReport:
    """What the broker says of an order now; `updated` orders reports that arrive out of turn."""

    client_id: str
    broker_id: str
    ticker: str
    side: Side
    quantity: float
    filled: float
    average_price: float | None
    status: OrderStatus
    updated: datetime
    reason: str | None = None


@dataclass(frozen=True)
class Fill:
    """One execution. `fill_id` is unique with the broker; `fees` are what it charged for it."""

    fill_id: str
    client_id: str
    ticker: str
    side: Side
    quantity: float
    price: float
    ts: datetime
    fees: float = 0.0

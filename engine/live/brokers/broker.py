"""The only door to a broker, and what passes through it: the paper one and the real one are alike.

Quantities are shares, positive for long and negative for short; prices and money are in the
account's currency; times are UTC with a zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

import polars as pl

__all__ = [
    "CLOSED",
    "QUOTES",
    "Account",
    "Asset",
    "Broker",
    "BrokerDownError",
    "BrokerError",
    "Fill",
    "Order",
    "OrderRefusedError",
    "OrderReport",
    "OrderStatus",
    "Position",
    "Side",
    "average_price",
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


def average_price(average: float, held: float, change: float, price: float) -> float:
    """What a share cost on average after a fill of `change` at `price`.

    Weighed where the position grows, kept where it shrinks, new where it turns.
    """
    total = held + change
    if held * change > 0:
        return (average * held + price * change) / total
    return average if held * total > 0 else price


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


class BrokerError(Exception):
    """The broker said no for good: wrong keys, a request it does not understand."""


class BrokerDownError(BrokerError):
    """No answer, or one that asks to come back: timeouts, refused connections, 429, 5xx.

    What was asked may have happened or not: ask again with the same client id.
    """


class OrderRefusedError(BrokerError):
    """This order is refused (not tradable, not enough buying power); others may be taken."""


class Broker(Protocol):
    """What the live engine asks of a broker.

    Every call may raise `BrokerDownError` (after the adapter's own retries) or `BrokerError`.
    """

    @property
    def name(self) -> str:
        """As in `live.broker`: "paper" or "alpaca"."""
        ...

    def account(self) -> Account:
        """Equity and cash now."""
        ...

    def positions(self) -> dict[str, Position]:
        """Every position with a quantity other than 0, by ticker."""
        ...

    def assets(self, tickers: Sequence[str]) -> dict[str, Asset]:
        """What may be done with each ticker; one the broker does not know is left out."""
        ...

    def quotes(self, tickers: Sequence[str]) -> pl.DataFrame:
        """The newest quote of each ticker that has one: `QUOTES`, sorted by ticker."""
        ...

    def submit(self, order: Order) -> OrderReport:
        """Send an order, exactly once per `client_id`: a known id returns that order's report.

        Raises `OrderRefusedError` for an order the broker does not take.
        """
        ...

    def order(self, client_id: str) -> OrderReport | None:
        """The order of this id; None if the broker never took it."""
        ...

    def fills(self, since: datetime) -> list[Fill]:
        """Executions at or after `since`, oldest first."""
        ...

    def cancel(self, client_id: str) -> None:
        """Cancel what is not filled yet; nothing happens to an order that is closed."""
        ...

    def close(self) -> None:
        """Let go of connections and files."""
        ...

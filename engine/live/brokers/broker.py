"""The only door to a broker: the paper one and the real one stand behind it alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import polars as pl

from engine.live.brokers.records import Account, Asset, Fill, Order, OrderReport, Position

__all__ = ["Broker", "BrokerDownError", "BrokerError", "OrderRefusedError"]


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
        """The newest quote of each ticker that has one: `records.QUOTES`, sorted by ticker."""
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

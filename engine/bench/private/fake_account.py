"""The account behind the stand-in for Alpaca: what its answers say, as Alpaca's JSON.

The money is kept by the paper broker in memory, without fees. On top of it come what Alpaca
refuses, and fills that are shown part by part: an order executes at once at one price, and of that
the account shows a part more each time the order is asked for, and all of it a minute later. So
what remains at the end does not depend on how often anybody asked.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from backtest.costs import Costs
from engine.bench.private.fake_faults import share_of
from engine.bench.private.fake_json import (
    account_json,
    activity_json,
    asset_json,
    order_json,
    position_json,
    quote_json,
    uuid_of,
)
from engine.calendar import TradingCalendar
from engine.live.brokers.bar_book import Books, DataQuotes
from engine.live.brokers.broker import CLOSED, Order, OrderReport
from engine.live.brokers.paper.broker import PaperBroker
from engine.live.brokers.paper.ledger import NANOS
from engine.live.clock import Clock

__all__ = ["AnswerError", "FakeAccount"]

_SHOWN_AFTER = timedelta(minutes=1)
_FREE = Costs(round_trip_bps=0, impact_coefficient=0, borrow_bps_per_year=0, aum=1)


class AnswerError(Exception):
    """An answer other than 200, as Alpaca words it."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.body = status, {"code": code, "message": message}


@dataclass
class _Taken:
    """An order as it came: the request, when, in how many parts it is shown, how many so far."""

    request: dict[str, Any]
    at: datetime
    parts: int
    shown: int = 0
    closed: OrderReport | None = None


@dataclass
class FakeAccount:
    """Parameters: whose time, the bars quotes are made of, and

    cash, half_spread_bps
        At the start; of every quote.
    parts
        The most parts an order is filled in; how many it is depends on its id only.
    reject
        The share of tickers that refuse orders on a day; which ones depends on ticker and date
        only, so that a disturbed run and an undisturbed one are refused the same.
    assets
        Changes to an asset's JSON, by ticker.
    """

    clock: Clock
    books: Books
    calendar: TradingCalendar
    cash: float = 1_000_000.0
    half_spread_bps: float = 1.0
    parts: int = 1
    reject: float = 0.0
    multiplier: float = 4.0
    seed: int = 0
    assets: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.taken: dict[str, _Taken] = {}
        self._client_ids: dict[str, str] = {}
        self._quotes = DataQuotes(self.books, half_spread_bps=self.half_spread_bps)
        self._paper = PaperBroker(
            Path(":memory:"),
            self.clock,
            self._quotes,
            _FREE,
            self.calendar,
            cash=self.cash,
            books=self.books,
            connect=sqlite3.connect,
        )

    def submit(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """POST /v2/orders."""
        order = self._checked(dict(request))
        now = self.clock.now()
        self._paper.submit(order)
        parts = 1 + int(share_of(self.seed, "parts", order.client_id) * self.parts)
        self.taken[order.client_id] = _Taken(dict(request), now, parts)
        self._client_ids[uuid_of("order", order.client_id)] = order.client_id
        return self._told(order.client_id)

    def order(self, client_id: str, *, stale: bool = False) -> dict[str, Any]:
        """GET of one order: shows a part more, or, where stale, what was known at the start."""
        if client_id not in self.taken:
            raise AnswerError(404, 40410000, f"order not found for {client_id}")
        if stale:
            return self._told(client_id, at_first=True)
        if self._report(client_id).status == "filled":
            self.taken[client_id].shown += 1
        return self._told(client_id)

    def client_id(self, order_id: str) -> str:
        """Of Alpaca's own id."""
        if order_id not in self._client_ids:
            raise AnswerError(404, 40410000, f"order not found for {order_id}")
        return self._client_ids[order_id]

    def orders(self, status: str) -> list[dict[str, Any]]:
        """GET /v2/orders, newest first."""
        found = [self._told(client_id) for client_id in reversed(self.taken)]
        closed = {"filled", "canceled", "expired", "rejected"}
        if status == "all":
            return found
        return [one for one in found if (one["status"] in closed) == (status == "closed")]

    def cancel(self, client_id: str) -> None:
        """DELETE of one order."""
        report = self._report(client_id)
        if report.status in CLOSED:
            raise AnswerError(422, 42210000, f'order is already in "{report.status}" state')
        self._paper.cancel(client_id)

    def account(self) -> dict[str, Any]:
        """GET /v2/account."""
        raw, hidden = self._paper.account(), self._hidden()
        cash = round(raw.cash + sum(quantity * price for _, quantity, price in hidden), 6)
        held = self._shown_quantities()
        marks = self._mids(list(held))
        value = {ticker: quantity * marks[ticker] for ticker, quantity in held.items()}
        long = sum(v for v in value.values() if v > 0)
        short = sum(v for v in value.values() if v < 0)
        # With nothing hidden this is raw.equity, to the last digit.
        equity = raw.equity if not hidden else cash + long + short
        text = {
            "cash": cash,
            "equity": equity,
            "portfolio_value": equity,
            "last_equity": equity,
            "long_market_value": long,
            "short_market_value": short,
            "buying_power": max(0.0, self.multiplier * equity - (long - short)),
            "multiplier": int(self.multiplier),
        }
        return account_json({name: repr(value) for name, value in text.items()})

    def positions(self) -> list[dict[str, Any]]:
        """GET /v2/positions."""
        raw, held = self._paper.positions(), self._shown_quantities()
        marks = self._mids(list(held))
        return [
            position_json(
                ticker,
                quantity,
                raw[ticker].average_price if ticker in raw else marks[ticker],
                marks[ticker],
            )
            for ticker, quantity in sorted(held.items())
        ]

    def asset(self, ticker: str) -> dict[str, Any]:
        """GET /v2/assets/{symbol}."""
        if not self._known(ticker):
            raise AnswerError(404, 40410000, f"asset not found for {ticker}")
        return asset_json(ticker) | self.assets.get(ticker, {})

    def all_assets(self) -> list[dict[str, Any]]:
        """GET /v2/assets."""
        return [self.asset(ticker) for ticker in self.books(self.clock.now()).tickers]

    def quotes(self, tickers: list[str]) -> dict[str, Any]:
        """GET /v2/stocks/quotes/latest of the data API."""
        frame = self._quotes.quotes(tickers, self.clock.now())
        return {ticker: quote_json(ts, bid, ask) for ticker, ts, bid, ask in frame.iter_rows()}

    def activities(self) -> list[dict[str, Any]]:
        """GET /v2/account/activities/FILL, oldest first: one for each part that is shown."""
        found = []
        for client_id, taken in self.taken.items():
            report = self._report(client_id)
            total = round(report.filled * NANOS)
            before = 0
            for part in range(1, self._shown(client_id, report) + 1):
                so_far = total * part // taken.parts
                if so_far > before:
                    found.append(activity_json(report, part, before, so_far, total))
                before = so_far
        return sorted(found, key=lambda one: (one["transaction_time"], one["id"]))

    def _checked(self, request: dict[str, Any]) -> Order:
        client_id = str(request.get("client_order_id") or uuid.uuid4())
        if client_id in self.taken:
            raise AnswerError(422, 40010001, "client_order_id must be unique")
        ticker = str(request.get("symbol"))
        if not self._known(ticker):
            raise AnswerError(422, 42210000, f'asset "{ticker}" not found')
        self._check_asset(ticker, request)
        limit = request.get("limit_price")
        order = Order(
            client_id,
            ticker,
            "buy" if request["side"] == "buy" else "sell",
            float(request["qty"]),
            None if limit is None else float(limit),
        )
        self._check_holding(order)
        return order

    def _check_asset(self, ticker: str, request: dict[str, Any]) -> None:
        asset = self.asset(ticker)
        if not asset["tradable"] or asset["status"] != "active":
            raise AnswerError(422, 42210000, f'asset "{ticker}" is not tradable')
        day = self.clock.now().date().isoformat()
        if share_of(self.seed, "reject", ticker, day) < self.reject:
            raise AnswerError(403, 40310000, f"orders of {ticker} are not taken today")
        if request.get("time_in_force") != "day" or request.get("type") not in ("market", "limit"):
            raise AnswerError(
                422, 40010001, "invalid order type or time_in_force for this stand-in"
            )

    def _check_holding(self, order: Order) -> None:
        """Alpaca takes no order through zero, no fractions short, and no more than can be paid."""
        positions = self._paper.positions()
        held = positions[order.ticker].quantity if order.ticker in positions else 0.0
        signed = order.quantity if order.side == "buy" else -order.quantity
        if held * signed < 0 and abs(signed) > abs(held) + 1e-9:
            raise AnswerError(
                403,
                40310000,
                f"insufficient qty available for order (requested: {order.quantity:g}, "
                f"available: {abs(held):g})",
            )
        if signed < 0 and held <= 0:
            asset = self.asset(order.ticker)
            if order.quantity % 1:
                raise AnswerError(422, 42210000, "fractional orders cannot be sold short")
            if not (asset["shortable"] and asset["easy_to_borrow"]):
                raise AnswerError(422, 42210000, f'asset "{order.ticker}" cannot be sold short')
        if held * signed >= 0:
            cost = order.quantity * self._mids([order.ticker])[order.ticker]
            if cost > float(self.account()["buying_power"]):
                raise AnswerError(403, 40310000, "insufficient buying power")

    def _told(self, client_id: str, *, at_first: bool = False) -> dict[str, Any]:
        taken, report = self.taken[client_id], self._report(client_id)
        shown = 0 if at_first else self._shown(client_id, report)
        part = Fraction(shown, taken.parts)
        return order_json(taken.request, taken.at, report, part, shown, at_first=at_first)

    def _known(self, ticker: str) -> bool:
        return not self._quotes.quotes([ticker], self.clock.now()).is_empty()

    def _report(self, client_id: str) -> OrderReport:
        taken = self.taken[client_id]
        report = taken.closed or self._paper.order(client_id)
        assert report is not None
        if report.status in CLOSED:
            taken.closed = report
        return report

    def _shown(self, client_id: str, report: OrderReport) -> int:
        taken = self.taken[client_id]
        if report.status != "filled":
            return 0
        if taken.parts == 1:
            return 1
        if self.clock.now() >= report.updated + _SHOWN_AFTER:
            taken.shown = taken.parts
        return min(taken.parts, taken.shown)

    def _hidden(self) -> list[tuple[str, float, float]]:
        """What is executed and not shown yet: ticker, signed quantity, price."""
        found = []
        for client_id, taken in self.taken.items():
            if taken.parts == 1 or taken.shown >= taken.parts:
                continue
            report = self._report(client_id)
            total = round(report.filled * NANOS)
            left = total - total * self._shown(client_id, report) // taken.parts
            if left and report.average_price is not None:
                sign = 1 if report.side == "buy" else -1
                found.append((report.ticker, sign * left / NANOS, report.average_price))
        return found

    def _shown_quantities(self) -> dict[str, float]:
        nanos = {
            ticker: round(held.quantity * NANOS) for ticker, held in self._paper.positions().items()
        }
        for ticker, quantity, _ in self._hidden():
            nanos[ticker] = nanos.get(ticker, 0) - round(quantity * NANOS)
        return {ticker: left / NANOS for ticker, left in nanos.items() if left}

    def _mids(self, tickers: list[str]) -> dict[str, float]:
        frame = self._quotes.quotes(tickers, self.clock.now())
        return {ticker: (bid + ask) / 2 for ticker, _, bid, ask in frame.iter_rows()}

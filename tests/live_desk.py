"""A small broker in memory, and a clock that waiting moves on: the other side of the executor."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl

from engine.live.brokers.broker import (
    CLOSED,
    QUOTES,
    Account,
    Asset,
    BrokerDownError,
    Fill,
    OrderRefusedError,
    OrderReport,
    Position,
)

OPEN = datetime(2026, 3, 4, 14, 30, tzinfo=UTC)


class Killed(BaseException):
    """What stands for SIGKILL: nothing below catches it."""


class StepClock:
    """Waiting moves it on."""

    def __init__(self, start=OPEN + timedelta(minutes=5)):
        self.time = start

    def now(self):
        return self.time

    def wait_until(self, when):
        self.time = max(self.time, when)


class Desk:
    """A broker that fills at once, or as `behave` says for a ticker.

    behave: ticker to a list of what happens to its next orders: "fill", "partial" (half, the rest
    at the next look), "open" (never fills), "reject", "refuse" (at the door), "slow" (fills at
    the third look).
    """

    name = "desk"

    def __init__(self, clock, prices=None, cash=100_000.0):
        self.clock = clock
        self.prices = {"A": 10.0, "B": 20.0, "C": 30.0} | (prices or {})
        self.cash = cash
        self.held = Counter()
        self.orders = {}
        self.looks = Counter()
        self.ways = {}
        self.behave = {}
        self.executions = []
        self.submitted = []
        self.down = 0
        self.blocked = False
        self.halted = set()
        self.spread = 0.001
        self.quote_age = timedelta(0)
        self.before = lambda call: None
        self.after = lambda call: None

    def _call(self, name, answer):
        self.before(name)
        if self.down > 0:
            self.down -= 1
            raise BrokerDownError("503")
        found = answer()
        self.after(name)
        return found

    def account(self):
        worth = sum(q * self.prices[t] for t, q in self.held.items())
        return self._call("account", lambda: Account(self.cash + worth, self.cash, self.blocked))

    def positions(self):
        return self._call(
            "positions",
            lambda: {t: Position(t, q, self.prices[t]) for t, q in sorted(self.held.items()) if q},
        )

    def assets(self, tickers):
        return self._call(
            "assets",
            lambda: {
                t: Asset(t, True, True, True, halted=t in self.halted)
                for t in tickers
                if t in self.prices
            },
        )

    def quotes(self, tickers):
        half = self.spread / 2
        rows = [
            (
                t,
                self.clock.now() - self.quote_age,
                self.prices[t] * (1 - half),
                self.prices[t] * (1 + half),
            )
            for t in sorted(tickers)
            if t in self.prices
        ]
        return self._call("quotes", lambda: pl.DataFrame(rows, schema=QUOTES, orient="row"))

    def submit(self, order):
        return self._call("submit", lambda: self._submit(order))

    def _submit(self, order):
        if order.client_id in self.orders:
            return self.orders[order.client_id]
        way = (self.behave.get(order.ticker) or ["fill"]).pop(0)
        if way == "refuse":
            raise OrderRefusedError("not enough buying power")
        self.submitted.append(order)
        self.ways[order.client_id] = way
        self.orders[order.client_id] = OrderReport(
            order.client_id, f"b{len(self.orders)}", order.ticker, order.side, order.quantity, 0.0,
            None, "rejected" if way == "reject" else "accepted", self.clock.now(),
            "computer says no" if way == "reject" else None,
        )  # fmt: skip
        if way == "fill":
            self._fill(order.client_id, order.quantity)
        if way == "partial":
            self._fill(order.client_id, order.quantity / 2)
        return self.orders[order.client_id]

    def _fill(self, name, quantity):
        report = self.orders[name]
        price = self.prices[report.ticker]
        sign = 1 if report.side == "buy" else -1
        self.held[report.ticker] += sign * quantity
        self.cash -= sign * quantity * price
        filled = report.filled + quantity
        self.orders[name] = replace(
            report, filled=filled, average_price=price, updated=self.clock.now(),
            status="filled" if filled >= report.quantity else "partially_filled",
        )  # fmt: skip
        number = f"f{len(self.executions)}"
        self.executions.append(
            Fill(number, name, report.ticker, report.side, quantity, price, self.clock.now())
        )

    def order(self, client_id):
        return self._call("order", lambda: self._order(client_id))

    def _order(self, client_id):
        report = self.orders.get(client_id)
        if report is None:
            return None
        self.looks[client_id] += 1
        late = {"partial": 1, "slow": 3}.get(self.ways[client_id])
        if late and self.looks[client_id] >= late and report.status not in CLOSED:
            self._fill(client_id, report.quantity - report.filled)
        return self.orders[client_id]

    def fills(self, since):
        return self._call("fills", lambda: [f for f in self.executions if f.ts >= since])

    def cancel(self, client_id):
        def cancelled():
            report = self.orders[client_id]
            if report.status not in CLOSED:
                self.orders[client_id] = replace(
                    report, status="canceled", updated=self.clock.now()
                )

        self._call("cancel", cancelled)

    def close(self):
        pass

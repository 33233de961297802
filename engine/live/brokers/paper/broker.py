"""The built-in paper broker: an account in a file, filled against quotes, with costs.

Every call first brings the account up to the clock (`_settle`), opens and closes in order:

1. At an open, splits and dividends change positions (`_act`), and orders that waited are filled.
2. At a close, shares held short pay for their loan, and orders not filled expire.
3. While the market is open, waiting orders are filled where the quote allows (`_work`).

A market order is filled whole at the touch: the ask for buys, the bid for sells; a limit order
when that is within its limit. Nothing limits how much can be bought: guards do.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import polars as pl

from backtest.costs import Costs, trade_cost_bps
from engine.calendar import TradingCalendar
from engine.errors import UsageError
from engine.live.brokers.bar_book import Action, Books
from engine.live.brokers.broker import (
    CLOSED,
    Account,
    Asset,
    BrokerError,
    Fill,
    Order,
    OrderRefusedError,
    OrderReport,
    Position,
    average_price,
)
from engine.live.brokers.paper.ledger import MILLIONTHS, NANOS, Entry, Holding, Ledger
from engine.live.clock import Clock
from engine.live.hours import Hours, Session

__all__ = ["PaperBroker", "QuoteSource"]

_MOST_SHARES = 9e9
# adj_factor does not say what changed it: no dividend is a sixth of the price and no split that
# small, but for rare ones, where both ways leave the same wealth.
_LEAST_SPLIT = 1.2
_MOST_PARTS = 20
_NEAR = 0.01


class QuoteSource(Protocol):
    """Where quotes come from: the broker that keeps this account has none of its own."""

    @property
    def replays(self) -> bool:
        """Whether it knows the quotes of times gone by; otherwise only those of the present."""
        ...

    def quotes(self, tickers: Sequence[str], now: datetime) -> pl.DataFrame:
        """The newest quote at `now` of each ticker that has one: `QUOTES`, by ticker."""
        ...


class PaperBroker:
    """Implements `Broker` on a file.

    Parameters
    ----------
    file
        The account; created with `cash` where there is none. Two processes may share it.
    clock
        Whose time orders are taken and filled at.
    quotes
        What orders are filled against, and what positions are worth (the mid).
    costs
        Fees are `trade_cost_bps` of the traded value less the half spread that the fill at the
        touch paid already, never below 0. Shorts pay `borrow_bps_per_year` at each close.
    calendar
        When the market is open.
    cash
        Of a new account.
    books
        Bars for ADV, splits and dividends; None: fees are without impact, positions without
        splits and dividends.

    Raises
    ------
    UsageError
        `file` is no paper account, or one that has seen later times than the clock's.
    """

    name = "paper"

    def __init__(
        self,
        file: Path,
        clock: Clock,
        quotes: QuoteSource,
        costs: Costs,
        calendar: TradingCalendar,
        *,
        cash: float,
        books: Books | None = None,
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect,
    ) -> None:
        self._clock, self._quotes, self._books = clock, quotes, books
        self._costs = costs if books is not None else replace(costs, impact_coefficient=0.0)
        self._borrow = costs.borrow_bps_per_year / 1e4 / calendar.periods_per_year
        self._hours = Hours(calendar)
        now = clock.now()
        self._ledger = Ledger(file, cash=cash, now=now, connect=connect)
        settled = self._ledger.settled()
        if now < settled:
            self._ledger.close()
            raise UsageError(
                f"{file}: this account has seen {settled:%Y-%m-%d %H:%M} UTC, and now is "
                f"{now:%Y-%m-%d %H:%M}; a replay needs an account of its own"
            )

    def account(self) -> Account:
        """Cash, and cash with every position at its mid; without a quote, at its last price."""
        with self._ledger.transaction():
            now = self._settle()
            self._mark(now)
            cash = self._ledger.cash()
            held = self._ledger.holdings().values()
            value = sum(_money(holding.nanos, holding.mark) for holding in held)
        return Account(equity=(cash + value) / MILLIONTHS, cash=cash / MILLIONTHS)

    def positions(self) -> dict[str, Position]:
        """By ticker, sorted."""
        with self._ledger.transaction():
            self._settle()
            return {
                ticker: Position(ticker, held.nanos / NANOS, held.average)
                for ticker, held in self._ledger.holdings().items()
            }

    def assets(self, tickers: Sequence[str]) -> dict[str, Asset]:
        """Every ticker with a price; halted is one without a quote of the open session."""
        now = self._clock.now()
        session = self._hours.at(now)
        return {
            ticker: Asset(
                ticker,
                tradable=True,
                shortable=True,
                fractionable=True,
                halted=session is not None and ts < session.open,
            )
            for ticker, ts, _, _ in self._quotes.quotes(tickers, now).iter_rows()
        }

    def quotes(self, tickers: Sequence[str]) -> pl.DataFrame:
        """Those that orders are filled against."""
        return self._quotes.quotes(tickers, self._clock.now())

    def submit(self, order: Order) -> OrderReport:
        """Take the order, and fill it where the market is open and the quote allows.

        While the market is closed it waits for the next open; it expires at that session's close.
        """
        nanos = _nanos(order)
        with self._ledger.transaction():
            now = self._settle()
            known = self._ledger.entry(order.client_id)
            if known is not None:
                return _same(known, order, nanos)
            if self._quotes.quotes([order.ticker], now).is_empty():
                raise OrderRefusedError(f"{order.ticker}: no price is known; order not taken")
            session = self._hours.working(now)
            self._ledger.take(order, nanos, now, session.close)
            if session.open <= now:
                self._work(now, session)
            return self._report(order.client_id)

    def order(self, client_id: str) -> OrderReport | None:
        """As it is now."""
        with self._ledger.transaction():
            self._settle()
            entry = self._ledger.entry(client_id)
            return None if entry is None else entry.report

    def fills(self, since: datetime) -> list[Fill]:
        """By time of execution, which for an order that waited is the open it waited for."""
        with self._ledger.transaction():
            self._settle()
            return self._ledger.fills(since)

    def cancel(self, client_id: str) -> None:
        """Cancel what waits; an id that is not known is none."""
        with self._ledger.transaction():
            now = self._settle()
            entry = self._ledger.entry(client_id)
            if entry is not None and entry.report.status not in CLOSED:
                self._ledger.finish(entry, "canceled", now)

    def close(self) -> None:
        """Let go of the file."""
        self._ledger.close()

    def _settle(self) -> datetime:
        """Bring the account up to now, within the transaction of the call."""
        now = self._clock.now()
        bells = self._hours.bells(self._ledger.settled(), now)
        for bell in bells:
            if bell.kind == "open":
                self._act(bell.moment, bell.session)
                # Who knows quotes of times gone by fills at the open, however late it is asked.
                if self._quotes.replays:
                    self._work(bell.moment, bell.session)
            else:
                if self._quotes.replays:
                    self._mark(bell.moment)
                self._charge_borrow(bell.moment)
                self._expire(bell.moment)
        if bells:
            self._ledger.settle_until(bells[-1].moment)
        session = self._hours.at(now)
        if session is not None:
            self._act(now, session)
            self._work(now, session)
        return now

    def _act(self, now: datetime, session: Session) -> None:
        """Splits and dividends that the bars tell of by now; each once, also where told late."""
        if self._books is None:
            return
        book = self._books(now)
        for ticker, held in self._ledger.holdings().items():
            for action in book.actions(ticker, held.acted, session.date):
                held, paid = _apply(held, action)
                kind = "cash in lieu" if _is_split(action) else "dividend"
                self._ledger.pay(now, kind, ticker, paid)
                self._ledger.hold(ticker, held)
        for entry in self._ledger.waiting():
            taken = self._hours.begun(entry.report.updated)
            if taken is None or taken.date == session.date:
                continue
            for action in book.actions(entry.order.ticker, taken.date, session.date):
                if _is_split(action):
                    reason = f"split {action.ratio:g}:1 on {action.date}: its shares are old ones"
                    self._ledger.finish(entry, "rejected", now, reason)

    def _work(self, now: datetime, session: Session) -> None:
        """Fill what waits and can be filled at the quotes of `now`."""
        waiting = self._ledger.waiting()
        if not waiting:
            return
        frame = self._quotes.quotes([entry.order.ticker for entry in waiting], now)
        touch = {
            ticker: (bid, ask)
            for ticker, ts, bid, ask in frame.iter_rows()
            if ts >= session.open and 0 < bid <= ask < math.inf
        }
        for entry in waiting:
            ticker = entry.order.ticker
            if ticker in touch and _crosses(entry.order, *touch[ticker]):
                self._fill(entry, *touch[ticker], now, session)

    def _fill(self, entry: Entry, bid: float, ask: float, now: datetime, session: Session) -> None:
        order, nanos = entry.order, entry.nanos
        buys = order.side == "buy"
        price, mid = (ask if buys else bid), (bid + ask) / 2
        volume = math.nan
        if self._books is not None:
            volume = self._books(now).average_daily_value(order.ticker, now)
        value = nanos / NANOS * mid
        spread_bps = (ask - bid) / 2 / mid * 1e4
        fee_bps = max(0.0, float(trade_cost_bps(value, volume, self._costs)) - spread_bps)
        fees = round(value * fee_bps / 1e4 * MILLIONTHS)
        signed = nanos if buys else -nanos
        self._ledger.execute(entry, price, fees, now)
        self._ledger.pay(now, "trade", order.ticker, -_money(signed, price))
        self._ledger.pay(now, "fees", order.ticker, -fees)
        held = self._ledger.holdings().get(order.ticker)
        if held is None:
            new = Holding(signed, price, mid, session.date)
        else:
            average = average_price(held.average, held.nanos, signed, price)
            new = replace(held, nanos=held.nanos + signed, average=average, mark=mid)
        self._ledger.hold(order.ticker, new)

    def _mark(self, now: datetime) -> None:
        held = self._ledger.holdings()
        if held:
            for ticker, _, bid, ask in self._quotes.quotes(list(held), now).iter_rows():
                if 0 < bid <= ask < math.inf:
                    self._ledger.hold(ticker, replace(held[ticker], mark=(bid + ask) / 2))

    def _charge_borrow(self, now: datetime) -> None:
        for ticker, held in self._ledger.holdings().items():
            if held.nanos < 0:
                fee = round(self._borrow * _money(-held.nanos, held.mark))
                self._ledger.pay(now, "borrow", ticker, -fee)

    def _expire(self, now: datetime) -> None:
        for entry in self._ledger.waiting():
            if entry.expires <= now:
                self._ledger.finish(entry, "expired", now)

    def _report(self, client_id: str) -> OrderReport:
        entry = self._ledger.entry(client_id)
        assert entry is not None
        return entry.report


def _nanos(order: Order) -> int:
    if not 0 < order.quantity < _MOST_SHARES or (nanos := round(order.quantity * NANOS)) == 0:
        raise OrderRefusedError(f"{order.ticker}: a quantity of {order.quantity} cannot be traded")
    if order.limit is not None and not 0 < order.limit < math.inf:
        raise OrderRefusedError(f"{order.ticker}: a limit of {order.limit} is no price")
    return nanos


def _same(known: Entry, order: Order, nanos: int) -> OrderReport:
    sent = known.order
    if (sent.ticker, sent.side, known.nanos) != (order.ticker, order.side, nanos):
        raise BrokerError(
            f"client id {order.client_id} is that of another order: "
            f"{sent.side} {sent.quantity:g} {sent.ticker}"
        )
    return known.report


def _crosses(order: Order, bid: float, ask: float) -> bool:
    if order.limit is None:
        return True
    return ask <= order.limit if order.side == "buy" else bid >= order.limit


def _money(nanos: int, price: float) -> int:
    """Millionths of nanos shares at a price."""
    return round(nanos / NANOS * price * MILLIONTHS)


def _is_split(action: Action) -> bool:
    """Whether shares change, and not only cash is paid."""
    return abs(math.log(action.ratio)) > math.log(_LEAST_SPLIT) - 1e-9


def _apply(held: Holding, action: Action) -> tuple[Holding, int]:
    """The position after it, and what it pays in millionths (shorts: below 0).

    A dividend pays close·(1 − 1/ratio) a share. A split multiplies shares by the nearest ratio of
    small numbers; what the ratio is besides is paid like a dividend of the same day, and what
    remains of whole shares as a fraction is paid in cash at the adjusted close before.
    """
    if not _is_split(action):
        dividend = action.close_before * (1 - 1 / action.ratio)
        return replace(held, acted=action.date), _paid(held.nanos, dividend)
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
        held,
        acted=action.date,
        nanos=nanos,
        average=held.average / float(shares),
        mark=held.mark / float(shares),
    )
    return after, paid


def _paid(nanos: int, per_share: float) -> int:
    return round(nanos / NANOS * per_share * MILLIONTHS)

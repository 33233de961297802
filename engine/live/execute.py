"""Planned orders to filled ones, once each, whatever happens in between.

1. Orders are in the state before any is sent; `Executor.run` goes through them stage by stage.
2. `_deliver` marks an order, sends it, and takes the broker's word. An order that was marked
   before is looked up by its id first, and sent only if the broker never took it.
3. `_watch` polls until a stage is settled: closed, with all its fills known.
4. A rejected order is planned again as another attempt, in the transaction that records it.
5. Guards are asked before every sending; when one trips, open orders are cancelled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import TypeVar

from engine.config.live import LiveSettings
from engine.live.brokers.broker import (
    CLOSED,
    Broker,
    BrokerDownError,
    OrderRefusedError,
    OrderReport,
)
from engine.live.clock import Clock
from engine.live.guards import GuardEvent
from engine.live.orders import OrderRecord, next_attempt
from engine.live.state import LiveState

__all__ = ["Executor", "HaltedError", "LateError", "Patience"]

log = logging.getLogger(__name__)
_MINUTE = timedelta(minutes=1)
# Fills are asked for from this long before the first sending: clocks differ, ids do not.
_SKEW = timedelta(minutes=5)
_EPSILON = 1e-9
Answer = TypeVar("Answer")


class LateError(Exception):
    """The time for it has passed."""


class HaltedError(Exception):
    """Guards tripped; nothing more is sent."""

    def __init__(self, events: Sequence[GuardEvent]) -> None:
        super().__init__("; ".join(event.explanation for event in events))
        self.events = list(events)


class Patience:
    """Waits `poll_s` after every failure, until `deadline` at the latest."""

    def __init__(self, clock: Clock, *, poll_s: float, deadline: datetime) -> None:
        self._clock = clock
        self._nap = timedelta(seconds=poll_s)
        self.deadline = deadline

    def ask(self, call: Callable[[], Answer]) -> Answer:
        """The answer of `call`, which may be asked many times.

        Raises LateError when the broker has not answered by the deadline.
        """
        while True:
            try:
                return call()
            except BrokerDownError as error:
                self.endure(error)

    def endure(self, error: BrokerDownError) -> None:
        """Wait a little; raises LateError when there is no time left for that."""
        now = self._clock.now()
        if now >= self.deadline:
            raise LateError(f"the broker does not answer: {error}") from error
        log.info("the broker does not answer, asking again: %s", error)
        self._clock.wait_until(min(now + self._nap, self.deadline))


@dataclass(frozen=True)
class Executor:
    """Sends and watches the orders of one session.

    Attributes
    ----------
    gate
        The guards that are asked before every sending.
    deadline
        Nothing is sent or waited for after it.
    """

    broker: Broker
    state: LiveState
    clock: Clock
    settings: LiveSettings
    gate: Callable[[], Sequence[GuardEvent]]
    deadline: datetime

    def run(self, session: date) -> None:
        """Send what is planned and watch it until it is filled, or `fill_timeout_s` has passed.

        Raises HaltedError when a guard trips (open orders are cancelled, what was not sent stays
        planned) and LateError when the deadline passes first.
        """
        try:
            for stage in sorted({record.planned.stage for record in self.state.orders.of(session)}):
                self._stage(session, stage)
        except HaltedError:
            self.cancel(session)
            raise

    def settle(self) -> None:
        """Take the broker's word on everything that was sent and is not settled.

        What the broker never took of an earlier session is closed here.
        """
        today = self.clock.now()
        for record in self.state.orders.unsettled():
            report = self._report(record)
            if report is not None:
                self._take(record, report)
            elif record.sent is not None and today - record.sent > timedelta(days=1):
                self._give_up(record, "it never reached the broker")
        self._take_fills()

    def finish(self, session: date) -> None:
        """End the session's orders: cancel what is open, close what was never sent."""
        self.settle()
        self.cancel(session)
        for record in self.state.orders.of(session):
            if not record.closed and record.broker_id is None:
                sent = "it never reached the broker" if record.sent else "it was not sent in time"
                self._give_up(record, sent)

    @property
    def _patience(self) -> Patience:
        return Patience(self.clock, poll_s=self.settings.schedule.poll_s, deadline=self.deadline)

    def _stage(self, session: date, stage: int) -> None:
        while True:
            for record in self._unsent(session, stage):
                if self._opens_too_early(record):
                    self._give_up(record, "the order that closes the other side did not fill")
                else:
                    self._send(record)
            self._watch(session, stage)
            if not self._unsent(session, stage):
                return
            # Other attempts of what was rejected: what was in the way may be gone in a while.
            self.clock.wait_until(
                self.clock.now() + timedelta(seconds=self.settings.schedule.poll_s)
            )

    def _unsent(self, session: date, stage: int) -> list[OrderRecord]:
        """Not known to have reached the broker: to be sent, or to be looked up."""
        return [
            record
            for record in self.state.orders.of(session)
            if record.planned.stage == stage and record.status == "planned"
        ]

    def _opens_too_early(self, record: OrderRecord) -> bool:
        """A half that opens a position goes out only after the half that closes the other one."""
        planned = record.planned
        if planned.leg != "open":
            return False
        closing = [
            other
            for other in self.state.orders.of(planned.session)
            if other.planned.leg == "close" and other.order.ticker == record.order.ticker
        ]
        return not any(other.status == "filled" for other in closing)

    def _send(self, record: OrderRecord) -> None:
        try:
            report = self._deliver(record)
        except OrderRefusedError as error:
            log.warning("%s refused: %s", _line(record), error)
            with self.state.transaction():
                self.state.orders.close(
                    record.order.client_id, "rejected", str(error), self.clock.now()
                )
                self._try_again(record)
        else:
            self._take(record, report)

    def _deliver(self, record: OrderRecord) -> OrderReport:
        order, patience = record.order, self._patience
        perhaps_sent = record.sent is not None
        while True:
            try:
                if perhaps_sent:
                    known = self.broker.order(order.client_id)
                    if known is not None:
                        return known
                self._pace()
                self._ask_guards()
                self.state.orders.sending(order.client_id, self.clock.now())
                perhaps_sent = True
                return self.broker.submit(order)
            except BrokerDownError as error:
                patience.endure(error)

    def _ask_guards(self) -> None:
        events = self.gate()
        if events:
            raise HaltedError(events)
        if self.clock.now() >= self.deadline:
            raise LateError("the time to send orders has passed")

    def _pace(self) -> None:
        """Wait until the minute has room for another order."""
        limit = self.settings.guards.max_orders_per_minute
        while True:
            now = self.clock.now()
            sent = self.state.orders.sent_since(now - _MINUTE)
            if len(sent) < limit:
                return
            self.clock.wait_until(sent[-limit] + _MINUTE + timedelta(milliseconds=1))

    def _watch(self, session: date, stage: int) -> None:
        """Poll until the orders of the stage and before are settled, or time is up."""
        schedule = self.settings.schedule
        until = min(self.clock.now() + timedelta(seconds=schedule.fill_timeout_s), self.deadline)
        while True:
            self._poll(session, stage)
            if not self._unsettled(session, stage) or self.clock.now() >= until:
                return
            self.clock.wait_until(min(self.clock.now() + timedelta(seconds=schedule.poll_s), until))

    def _unsettled(self, session: date, stage: int) -> list[OrderRecord]:
        return [
            record
            for record in self.state.orders.unsettled()
            if record.planned.session == session
            and record.planned.stage <= stage
            and record.broker_id is not None
        ]

    def _poll(self, session: date, stage: int) -> None:
        for record in self._unsettled(session, stage):
            if not record.closed:
                report = self._report(record)
                if report is not None:
                    self._take(record, report)
        self._take_fills()

    def _report(self, record: OrderRecord) -> OrderReport | None:
        return self._patience.ask(partial(self.broker.order, record.order.client_id))

    def _take(self, record: OrderRecord, report: OrderReport) -> OrderReport:
        """Record a report; a rejection plans the next attempt in the same transaction."""
        with self.state.transaction():
            news = self.state.orders.report(report, self.clock.now())
            if news and report.status == "rejected" and report.filled <= _EPSILON:
                log.warning("%s rejected: %s", _line(record), report.reason)
                self._try_again(record)
        return report

    def _try_again(self, record: OrderRecord) -> None:
        if record.planned.attempt < self.settings.schedule.max_attempts:
            self.state.orders.plan([next_attempt(record)], self.clock.now())
        else:
            log.warning("%s given up after %d attempts", _line(record), record.planned.attempt)

    def _take_fills(self) -> None:
        open_orders = self.state.orders.unsettled()
        sent = [record.sent for record in open_orders if record.sent is not None]
        if sent:
            since = min(sent) - _SKEW
            self.state.orders.fill(self._patience.ask(lambda: self.broker.fills(since)))

    def cancel(self, session: date) -> None:
        """Cancel what is open at the broker, and hear what became of it; LateError as `run`."""
        last = max((record.planned.stage for record in self.state.orders.of(session)), default=0)
        cancelled = 0
        for record in self.state.orders.of(session):
            if record.sent is None or record.closed:
                continue
            report = self._report(record)
            if report is not None and self._take(record, report).status not in CLOSED:
                self._patience.ask(partial(self.broker.cancel, record.order.client_id))
                cancelled += 1
        if cancelled:
            self._watch(session, last)

    def _give_up(self, record: OrderRecord, reason: str) -> None:
        log.warning("%s closed: %s", _line(record), reason)
        self.state.orders.close(record.order.client_id, "canceled", reason, self.clock.now())


def _line(record: OrderRecord) -> str:
    order = record.order
    return f"{order.side} {order.quantity:g} {order.ticker} ({order.client_id})"

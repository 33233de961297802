"""Asking a broker that may be away for a while, and giving up in time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from engine.live.brokers.broker import BrokerDownError
from engine.live.clock import Clock
from engine.live.guards import GuardEvent

__all__ = ["HaltedError", "LateError", "Patience"]

log = logging.getLogger(__name__)
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

"""Asking again where a failure may pass."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

__all__ = ["Backoff", "call_again"]

T = TypeVar("T")


@dataclass(frozen=True)
class Backoff:
    """How long to wait between attempts: twice as long each time.

    Attributes
    ----------
    first_s, longest_s
        Seconds before the second attempt, and before any.
    sleep
        Sleeps for so many seconds.
    spread
        A random number from 0 to 1: up to as long again is added, so that many clients do not
        come back at once.
    """

    first_s: float = 1.0
    longest_s: float = 60.0
    sleep: Callable[[float], None] = field(default_factory=lambda: time.sleep)
    spread: Callable[[], float] = random.random

    def rest(self, attempt: int, at_least_s: float = 0.0) -> None:
        """Wait after the failed `attempt` (from 0), at least as long as the other side asks for."""
        wait = min(self.first_s * 2**attempt, self.longest_s) * (1 + self.spread())
        self.sleep(max(wait, at_least_s))


def call_again(
    request: Callable[[int], T],
    *,
    attempts: int,
    backoff: Backoff,
    may_pass: Callable[[Exception], bool],
    asked_wait_s: Callable[[Exception], float] = lambda _: 0.0,
) -> T:
    """`request(attempt)`, repeated while it fails in a way that may pass.

    Parameters
    ----------
    request
        Called with the number of the attempt, from 0.
    attempts
        How often it is called at most.
    backoff
        The waits between.
    may_pass
        Whether another attempt may help after this error.
    asked_wait_s
        How many seconds an error asks to wait.

    Raises
    ------
    Exception
        Of the last attempt, or the first that cannot pass.
    """
    for attempt in range(attempts):
        try:
            return request(attempt)
        except Exception as error:
            if attempt + 1 == attempts or not may_pass(error):
                raise
            backoff.rest(attempt, asked_wait_s(error))
    raise ValueError("call_again: attempts must be at least 1")

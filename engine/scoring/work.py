"""What is still to be scored, and what becomes of a shard that failed.

- A call that held several shards is given out again shard by shard: nobody is to blame yet.
- An actor that died with its node takes nobody with it.
- The first death under a shard may have been the actor's: the whole shard runs once more,
  elsewhere. After that, and after an exception or a passed deadline at once, it is halved; its
  halves have had their free death.
- A window that is alone is tried `max_retries` times more, each time later, and then quarantined.
"""

from __future__ import annotations

import heapq
import itertools
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from engine.scoring.plan import Shard
from engine.scoring.price_array import PriceArray

__all__ = ["Fault", "Work", "WorkQueue"]

log = logging.getLogger(__name__)
BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0

Fault = Literal["raised", "late", "died", "node"]


@dataclass(frozen=True)
class Work:
    """A shard and its history.

    Attributes
    ----------
    shard
        The windows.
    attempts
        Times it failed while alone.
    deaths
        Actors that died under it.
    avoid
        The actor that it failed on, which is not to get it again if there are others.
    alone
        Whether it must not share a call with other shards.
    """

    shard: Shard
    attempts: int = 0
    deaths: int = 0
    avoid: object = None
    alone: bool = False


@dataclass
class WorkQueue:
    """Shards in order of work: those given back first, then fresh ones, largest first.

    Fresh shards are made when their turn comes, so a long plan takes no memory here. `total`
    shards were there at the start.

    Attributes
    ----------
    retries
        Times that work was given out again.
    failed
        (asof as ISO text, ticker) → reason, of windows given up.
    """

    shards: Sequence[Shard]
    prices: PriceArray
    max_retries: int
    retries: int = 0
    failed: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.shards, list):
            self.shards = sorted(self.shards, key=len, reverse=True)
        self._next = 0
        self._again: deque[Work] = deque()
        self._later: list[tuple[float, int, Work]] = []
        self._number = itertools.count()

    def __len__(self) -> int:
        return len(self.shards) - self._next + len(self._again) + len(self._later)

    def take(self, actor: object, most: int, now: float, *, only_actor: bool) -> list[Work]:
        """Up to `most` shards for one call to `actor`; empty if there is nothing for it now.

        `only_actor`: there is no other actor, so this one also gets what failed on it before.
        """
        while self._later and self._later[0][0] <= now:
            self._again.append(heapq.heappop(self._later)[2])
        taken: list[Work] = []
        passed: list[Work] = []
        while self._again and len(taken) < most:
            work = self._again.popleft()
            if work.avoid == actor and not only_actor:
                passed.append(work)
            elif work.alone and taken:
                passed.append(work)
                break
            else:
                taken.append(work)
                if work.alone:
                    break
        self._again.extendleft(reversed(passed))
        while self._next < len(self.shards) and len(taken) < most and not _alone(taken):
            taken.append(Work(self.shards[self._next]))
            self._next += 1
        return taken

    def give_back(self, works: Sequence[Work]) -> None:
        """Work that was given out but not begun."""
        self._again.extendleft(reversed(works))

    def fail(
        self, works: Sequence[Work], fault: Fault, reason: str, actor: object, now: float
    ) -> None:
        """The call with these shards failed on `actor`; what happens is told in the module."""
        self.retries += 1
        if fault == "node":
            self.give_back(works)
            return
        if len(works) > 1:
            self.give_back([replace(work, alone=True) for work in works])
            return
        (work,) = works
        windows = len(work.shard)
        if fault == "died" and work.deaths == 0:
            self.give_back([replace(work, deaths=1, avoid=actor, alone=True)])
        elif windows > 1:
            halves = work.shard.halves()
            self.give_back([replace(work, shard=h, avoid=actor, alone=True) for h in halves])
        elif work.attempts < self.max_retries:
            wait = min(BACKOFF_S * 2**work.attempts, LONGEST_BACKOFF_S)
            again = replace(work, attempts=work.attempts + 1, avoid=actor, alone=True)
            heapq.heappush(self._later, (now + wait, next(self._number), again))
        else:
            self._quarantine(work.shard, reason)

    def _quarantine(self, shard: Shard, reason: str) -> None:
        asof = str(shard.asof(self.prices)[0])
        ticker = self.prices.tickers[int(shard.ticker_ids[0])]
        self.lose(asof, ticker, reason)

    def lose(self, asof: str, ticker: str, reason: str) -> None:
        """Set a window aside for good."""
        self.failed[asof, ticker] = reason
        log.warning("window %s at %s quarantined: %s", ticker, asof, reason)


def _alone(taken: Sequence[Work]) -> bool:
    return bool(taken) and taken[-1].alone

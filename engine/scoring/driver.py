"""The loop that gets every shard scored, whatever fails on the way.

1. `_Slot` holds one actor and the shards it has been given (two: it never waits for the driver).
2. A finished shard is committed by the driver alone, so workers need no disk of ours.
3. A shard whose forecast raises is halved until the window that raises is alone; that one is
   tried `max_retries` times more, then quarantined with its reason.
4. An actor that dies or outlasts `timeout_s` is replaced; its first shard takes the blame as in
   3, the others go back to the queue.
5. Actors that keep failing before they score anything end the run with an error: a pool that
   cannot work is never waited for.

Ray Data's actor pool could carry 1 and 2, not 3: it retries whole blocks and cannot set one
window aside while the rest of the run goes on.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from engine.scoring.actor import ScoringActor
from engine.scoring.forecaster import ForecasterSpec
from engine.scoring.plan import Shard
from engine.scoring.price_array import PriceArray
from engine.scoring.shard_store import ShardStore

__all__ = ["Outcome", "PoolError", "score_shards"]

log = logging.getLogger(__name__)
IN_FLIGHT = 2
POLL_S = 1.0
START_FAILURES = 3


class PoolError(RuntimeError):
    """No actor can be brought to work; the message says why the last one failed."""


@dataclass
class Outcome:
    """What a scoring run did.

    Attributes:
        windows: windows scored.
        shards: shards committed.
        retries: times a shard was given out again.
        failed: (asof as ISO text, ticker) → reason, for windows given up.
    """

    windows: int = 0
    shards: int = 0
    retries: int = 0
    failed: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass
class _Work:
    shard: Shard
    attempts: int = 0


@dataclass
class _Slot:
    actor: Any
    health: Any
    ready: bool = False
    given: deque[tuple[Any, _Work]] = field(default_factory=deque)
    since: float = field(default_factory=time.monotonic)

    @property
    def waits_for(self) -> list[Any]:
        return [ref for ref, _ in self.given] if self.ready else [self.health]


def score_shards(
    shards: Sequence[Shard],
    *,
    spec: ForecasterSpec,
    prices: PriceArray,
    lookback: int,
    store: ShardStore,
    actors: int,
    cpus_per_actor: int,
    gpus_per_actor: float,
    timeout_s: float,
    max_retries: int,
    progress: Callable[[int, int], None] = lambda done, failed: None,
) -> Outcome:
    """Score and commit every shard on `actors` Ray actors; Ray must be running.

    `progress(done, failed)` is told the windows finished so far. Raises `PoolError` if actors
    cannot be started, OSError if a shard cannot be written.
    """
    loop = _Loop(
        spec, prices, lookback, store, cpus_per_actor, gpus_per_actor, timeout_s, max_retries
    )
    return loop.run(shards, min(actors, len(shards)), progress)


class _Loop:
    def __init__(
        self,
        spec: ForecasterSpec,
        prices: PriceArray,
        lookback: int,
        store: ShardStore,
        cpus: int,
        gpus: float,
        timeout_s: float,
        max_retries: int,
    ) -> None:
        import ray

        self._ray = ray
        self._prices = prices
        self._store = store
        self._timeout_s = timeout_s
        self._max_retries = max_retries
        self._start_failures = 0
        self._queue: deque[_Work] = deque()
        self.outcome = Outcome()
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(ScoringActor)
        shared = (ray.put(spec), ray.put(prices))
        self._start = lambda: remote.remote(*shared, lookback, cpus)

    def run(
        self, shards: Sequence[Shard], actors: int, progress: Callable[[int, int], None]
    ) -> Outcome:
        self._queue.extend(_Work(shard) for shard in shards)
        slots = [self._new_slot() for _ in range(actors)]
        try:
            while self._queue or any(slot.given for slot in slots):
                for slot in slots:
                    self._fill(slot)
                self._collect(slots)
                progress(self.outcome.windows, len(self.outcome.failed))
        finally:
            for slot in slots:
                self._ray.kill(slot.actor)
        return self.outcome

    def _new_slot(self) -> _Slot:
        actor = self._start()
        return _Slot(actor, actor.health.remote())

    def _fill(self, slot: _Slot) -> None:
        while slot.ready and self._queue and len(slot.given) < IN_FLIGHT:
            work = self._queue.popleft()
            if not slot.given:
                slot.since = time.monotonic()
            slot.given.append((slot.actor.score.remote(work.shard), work))

    def _collect(self, slots: list[_Slot]) -> None:
        refs = [ref for slot in slots for ref in slot.waits_for]
        if not refs:
            return
        done, _ = self._ray.wait(refs, num_returns=1, timeout=POLL_S)
        if done:  # take everything else that has finished too
            done, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        finished = set(done)
        for index, slot in enumerate(slots):
            if not slot.ready and slot.health in finished:
                self._welcome(slots, index)
            elif slot.ready and not self._take_results(slot, finished):
                slots[index] = self._new_slot()
            elif time.monotonic() - slot.since > self._timeout_s and (slot.given or not slot.ready):
                self._expire(slots, index)

    def _welcome(self, slots: list[_Slot], index: int) -> None:
        slot = slots[index]
        try:
            self._ray.get(slot.health)
            slot.ready = True
        except self._ray.exceptions.RayError as error:
            self._replace_unstarted(slots, index, _reason(error))

    def _take_results(self, slot: _Slot, finished: set[Any]) -> bool:
        """Commit what the slot has finished; False once its actor is found dead."""
        while slot.given and slot.given[0][0] in finished:
            ref, work = slot.given.popleft()
            slot.since = time.monotonic()
            try:
                frame = self._ray.get(ref)
            except self._ray.exceptions.RayTaskError as error:
                self._start_failures = 0
                self._blame(work, _reason(error))
            except self._ray.exceptions.RayError as error:
                log.warning("an actor died: %s", _reason(error))
                self._blame(work, f"actor died: {_reason(error)}")
                self._give_back(slot)
                return False
            else:
                self._start_failures = 0
                self._finish(work.shard, frame)
        return True

    def _finish(self, shard: Shard, frame: pl.DataFrame) -> None:
        keys = pl.DataFrame(
            {
                "asof": pl.Series(shard.asof(self._prices)).cast(pl.Date),
                "ticker": [self._prices.tickers[i] for i in shard.ticker_ids],
                "hash": list(shard.hashes),
            }
        )
        found = keys.join(frame, on=["asof", "ticker"], how="inner", maintain_order="left")
        if found.height:
            self._store.commit(shard.id, found)
            self.outcome.shards += 1
        lost = keys.join(frame, on=["asof", "ticker"], how="anti")
        for asof, ticker in lost.select("asof", "ticker").iter_rows():
            self.outcome.failed[asof.isoformat(), ticker] = "forecast is not finite"
        self.outcome.windows += len(shard) - lost.height

    def _blame(self, work: _Work, reason: str) -> None:
        self.outcome.retries += 1
        if len(work.shard) > 1:
            self._queue.extend(_Work(half) for half in work.shard.halves())
        elif work.attempts < self._max_retries:
            self._queue.append(_Work(work.shard, work.attempts + 1))
        else:
            asof = str(work.shard.asof(self._prices)[0])
            ticker = self._prices.tickers[int(work.shard.ticker_ids[0])]
            self.outcome.failed[asof, ticker] = reason
            log.warning("window %s at %s quarantined: %s", ticker, asof, reason)

    def _give_back(self, slot: _Slot) -> None:
        self._queue.extendleft(work for _, work in reversed(slot.given))
        slot.given.clear()

    def _expire(self, slots: list[_Slot], index: int) -> None:
        slot = slots[index]
        self._ray.kill(slot.actor)
        reason = f"timed out after {self._timeout_s:g} s"
        if not slot.ready:
            self._replace_unstarted(slots, index, reason)
            return
        _, work = slot.given.popleft()
        log.warning("a shard of %d windows %s", len(work.shard), reason)
        self._blame(work, reason)
        self._give_back(slot)
        slots[index] = self._new_slot()

    def _replace_unstarted(self, slots: list[_Slot], index: int, reason: str) -> None:
        self._start_failures += 1
        log.warning("an actor did not start: %s", reason)
        if self._start_failures >= START_FAILURES * len(slots):
            raise PoolError(f"no scoring actor could be started: {reason}")
        slots[index] = self._new_slot()


def _reason(error: Exception) -> str:
    """The last line of an error is the exception itself; the rest is a traceback of Ray's."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return f"{type(cause).__name__}: {cause}".splitlines()[0]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

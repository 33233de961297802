"""The loop that gets every shard scored and committed, whatever fails on the way.

1. `Pool` keeps actors alive: it follows nodes that join and leave, and ends the run with a
   `PoolError` when none can be brought to work.
2. `_fill` gives each actor its next call once the last one is committed, so a driver that is
   killed loses at most one computed call an actor, also if its actors live on for a while. Only
   where a commit is a request to an object store, and waiting for it would tell, has an actor two
   calls. A call is one shard, or several if they take milliseconds.
3. A reply is a finished Parquet file, which the driver alone commits: workers need no disk of
   ours, and a shard is written once however often it ran.
4. A call that raised, died or outlasted `timeout_s` goes to `WorkQueue.fail`, which tries it
   elsewhere, halves it, and quarantines the window that is to blame.

Ray Data's actor pool (Ray 2.60) could carry 1 and the bounded calls of 2. It has no deadline for
one task (only one for an execution without any progress), retries a task without saying
where, skips failed blocks by count and not by window, and gives no moment between computed and
handed on at which a block can be committed; a failing constructor ends its whole execution. 3
and 4 are what scoring must not go without, and they need to know each call's actor.

`score_shards_here` does a handful of shards in this process, before Ray would have started.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from engine.forecasters.forecaster import ForecasterSpec
from engine.scoring.actor import Reply, ScoringActor
from engine.scoring.plan import Shard
from engine.scoring.pool import (
    Call,
    MemoryShortageError,
    Pool,
    PoolError,
    Slot,
    Slots,
    out_of_memory,
    reason_of,
)
from engine.scoring.price_array import PriceArray
from engine.scoring.shard_store import ShardStore
from engine.scoring.status import Status
from engine.scoring.storage import LocalFolder
from engine.scoring.work import Fault, Work, WorkQueue

__all__ = [
    "MemoryShortageError",
    "Outcome",
    "PoolError",
    "Slots",
    "score_shards",
    "score_shards_here",
]

log = logging.getLogger(__name__)
REMOTE_CALLS = 2
POLL_S = 0.2
COMMIT_POLL_S = 0.005
# A commit to a local disk takes about a millisecond: its actor is not to wait a poll longer.
COMMIT_WAIT_S = 0.003
TELL_EVERY_S = 0.1
# Shards faster than SHORT_S share a call, which is then to last about CALL_S.
SHORT_S = 0.005
CALL_S = 0.05
MOST_SHARDS = 64


@dataclass
class Outcome:
    """What a scoring run did.

    Attributes
    ----------
    windows
        Windows scored and committed.
    shards
        Shards committed.
    retries
        Times work was given out again.
    failed
        (asof as ISO text, ticker) → reason, for windows given up.
    """

    windows: int = 0
    shards: int = 0
    retries: int = 0
    failed: dict[tuple[str, str], str] = field(default_factory=dict)


def score_shards(
    shards: Sequence[Shard],
    *,
    spec: ForecasterSpec,
    prices: PriceArray,
    lookback: int,
    store: ShardStore | None,
    slots: Slots,
    max_retries: int = 2,
    progress: Callable[[Status], None] = lambda status: None,
) -> Outcome:
    """Score and commit every shard on Ray actors; Ray must be running.

    Parameters
    ----------
    shards
        Units of work; one is made (`shards[i]`) when its turn comes.
    spec
        What each actor builds its forecaster from.
    prices
        What shards are cut from; goes into the object store once.
    lookback
        Bars of a window.
    store
        Where shards are committed; None computes and forgets (for benchmarks).
    slots
        How many actors, what each gets, and how long it may take.
    max_retries
        Times a window that fails alone is tried again.
    progress
        Called with the state of things, ten times a second at most.

    Raises `PoolError` if actors cannot be started, `MemoryShortageError` if a forward does not fit
    into memory, OSError if a shard cannot be written; what was committed until then is kept.
    """
    pool = Pool(
        spec,
        prices,
        lookback=lookback,
        fingerprint=store.fingerprint if store else "",
        slots=slots,
    )
    queue = WorkQueue(shards, prices, max_retries)
    return _Loop(pool, queue, store, slots.timeout_s, progress).run()


class _Loop:
    def __init__(
        self,
        pool: Pool,
        queue: WorkQueue,
        store: ShardStore | None,
        timeout_s: float,
        progress: Callable[[Status], None],
    ) -> None:
        import ray

        self._ray = ray
        self._pool = pool
        self._queue = queue
        self._store = store
        self._timeout_s = timeout_s
        self._progress = progress
        self._told = 0.0
        self._shard_s: float | None = None
        remote = store is not None and not isinstance(store.folder, LocalFolder)
        self._most_calls = REMOTE_CALLS if remote else 1
        self._writers = ThreadPoolExecutor(store.folder.threads if store else 1)
        self._commits: list[tuple[Future[Any], Slot, Call]] = []
        self._outcome = Outcome(failed=queue.failed)

    def run(self) -> Outcome:
        try:
            while left := self._left():
                self._pool.adjust(left)
                for slot in self._pool.ready:
                    self._fill(slot)
                self._listen()
                self._settle()
                self._tell()
        finally:
            self._pool.close()
            self._writers.shutdown(wait=True)
        self._tell(now=True)
        return self._outcome

    def _left(self) -> int:
        """Shards that are not committed yet."""
        given = sum(len(call.works) for slot in self._pool.slots for call in slot.calls)
        return len(self._queue) + given + len(self._commits)

    def _fill(self, slot: Slot) -> None:
        only = len(self._pool.ready) == 1
        while len(slot.calls) < self._most_calls and len(self._queue):
            now = time.monotonic()
            works = self._queue.take(slot.number, self._most(), now, only_actor=only)
            if not works:
                return
            if not slot.running:
                slot.since = now
            ref = slot.actor.score.remote([work.shard for work in works])
            slot.calls.append(Call(ref, works))

    def _most(self) -> int:
        """Shards that one call may hold."""
        if self._shard_s is None or self._shard_s > SHORT_S:
            return 1
        # Two calls an actor stay to be given out, so that none works on long after the others.
        fair = len(self._queue) // (2 * len(self._pool.slots))
        return max(1, min(int(CALL_S / max(self._shard_s, 1e-6)), MOST_SHARDS, fair))

    def _listen(self) -> None:
        """Wait for answers and deal with all that are there, then with those that are late."""
        slots = list(self._pool.slots)
        refs = [slot.pending for slot in slots if slot.pending is not None]
        refs += [call.ref for slot in slots for call in slot.running]
        timeout = COMMIT_POLL_S if self._commits else POLL_S
        if not refs:
            time.sleep(timeout)
            return
        done, _ = self._ray.wait(refs, num_returns=1, timeout=timeout)
        if done:  # take everything else that has finished too
            done, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        finished = set(done)
        now = time.monotonic()
        for slot in slots:
            if slot.pending in finished:
                self._pool.advance(slot, now)
            while slot.running and slot.running[0].ref in finished:
                self._take(slot, slot.running[0])
            if slot.running and now - slot.since > self._timeout_s:
                reason = f"timed out after {self._timeout_s:g} s"
                log.warning("a call to actor %d %s", slot.number, reason)
                self._lose(slot, "late", reason)
        for slot in self._pool.late_to_start(now):
            self._pool.failed_to_start(slot, "its forecaster took too long to load")

    def _take(self, slot: Slot, call: Call) -> None:
        """The oldest call of a slot has ended, one way or another."""
        slot.since = time.monotonic()
        errors = self._ray.exceptions
        try:
            call.reply = self._ray.get(call.ref)
        except errors.RayTaskError as error:
            self._pool.succeeded(slot)
            self._pool.check_memory(error)
            slot.calls.remove(call)
            self._queue.fail(call.works, "raised", reason_of(error), slot.number, slot.since)
        except errors.RayError as error:
            reason = f"actor died: {reason_of(error)}"
            log.warning("actor %d: %s", slot.number, reason)
            self._pool.check_memory(error)
            self._lose(slot, "died" if self._pool.node_lives(slot) else "node", reason)
        else:
            self._pool.succeeded(slot)
            self._accept(slot, call, call.reply)

    def _lose(self, slot: Slot, fault: Fault, reason: str) -> None:
        """The slot's actor is gone: its oldest call takes the blame, the others go back."""
        oldest, *others = slot.running
        for call in reversed(others):
            self._queue.give_back(call.works)
        self._queue.fail(oldest.works, fault, reason, slot.number, time.monotonic())
        self._pool.replace(slot)

    def _accept(self, slot: Slot, call: Call, reply: Reply) -> None:
        slot.health = reply.health
        self._shard_s = _mean(self._shard_s, reply.seconds / len(call.works))
        future: Future[Any] = Future()
        if self._store is not None and reply.content:
            future = self._writers.submit(self._store.commit, _name(call.works), reply.content)
        else:
            future.set_result(None)
        self._commits.append((future, slot, call))

    def _settle(self) -> None:
        """Count what has been committed. Raises OSError."""
        if self._commits:
            wait([future for future, _, _ in self._commits], timeout=COMMIT_WAIT_S)
        for entry in [entry for entry in self._commits if entry[0].done()]:
            future, slot, call = entry
            future.result()
            self._commits.remove(entry)
            if call in slot.calls:
                slot.calls.remove(call)
            assert call.reply is not None
            for asof, ticker, reason in call.reply.lost:
                self._queue.lose(asof, ticker, reason)
            self._outcome.windows += call.reply.windows
            self._outcome.shards += len(call.works) if call.reply.windows else 0

    def _tell(self, *, now: bool = False) -> None:
        self._outcome.retries = self._queue.retries
        moment = time.monotonic()
        if not now and moment - self._told < TELL_EVERY_S:
            return
        self._told = moment
        self._progress(
            Status(
                windows=self._outcome.windows,
                shards=self._outcome.shards,
                retries=self._outcome.retries,
                quarantined=len(self._outcome.failed),
                actors=tuple(slot.status() for slot in self._pool.slots),
            )
        )


def _mean(past: float | None, now: float) -> float:
    """Smoothed, the latest counting for half."""
    return now if past is None else (past + now) / 2


def _name(works: Sequence[Work]) -> str:
    """The id of the file that holds these shards: the shard's own if it is alone."""
    if len(works) == 1:
        return works[0].shard.id
    return hashlib.sha256("".join(work.shard.id for work in works).encode()).hexdigest()[:20]


def score_shards_here(
    shards: Sequence[Shard],
    *,
    spec: ForecasterSpec,
    prices: PriceArray,
    lookback: int,
    store: ShardStore,
    threads: int,
    progress: Callable[[Status], None] = lambda status: None,
) -> Outcome:
    """Score and commit every shard with the actor's own code, as many threads and so its bits.

    Nothing is tried twice and nothing isolated: raises whatever the forecaster raises, and
    `PoolError` if it cannot be loaded.
    """
    actor = ScoringActor(lookback, threads, store.fingerprint)
    try:
        actor.load(spec, prices)
    except Exception as error:
        if out_of_memory(error):
            raise
        raise PoolError(f"the forecaster cannot be loaded: {reason_of(error)}") from error
    outcome = Outcome()
    for shard in shards:
        reply = actor.score([shard])
        if reply.windows:
            store.commit(shard.id, reply.content)
            outcome.shards += 1
        outcome.windows += reply.windows
        outcome.failed |= {(asof, ticker): reason for asof, ticker, reason in reply.lost}
        progress(Status(outcome.windows, outcome.shards, 0, len(outcome.failed), ()))
    return outcome

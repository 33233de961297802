"""The actors: started where the cluster has room, replaced when they end.

1. `adjust` keeps as many slots as wanted; without a number, as many as the cluster has room for,
   which follows nodes that join and leave.
2. A slot is `waiting` until Ray has placed its actor, `loading` until its forecaster has
   forecast once, and `ready` from then on.
3. An actor that fails to start is started again after a pause that doubles each time.
4. A pool whose actors keep failing to start, or that has had no actor in place for
   `start_timeout_s`, raises `PoolError`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.forecasters.forecaster import ForecasterSpec
from engine.scoring.actor import Health, Place, Reply, ScoringActor
from engine.scoring.cluster import cluster_slots
from engine.scoring.price_array import PriceArray
from engine.scoring.status import ActorStatus
from engine.scoring.work import Work

__all__ = ["Call", "MemoryShortageError", "Pool", "PoolError", "Slot", "out_of_memory", "reason_of"]

log = logging.getLogger(__name__)
ADJUST_EVERY_S = 1.0
WARN_EVERY_S = 30.0
START_FAILURES = 3
# A death while loading may be anybody's; an exception is the forecaster's own.
DEATH_WEIGHT = 0.25
LONGEST_PAUSE_S = 30.0
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class PoolError(RuntimeError):
    """No actor can be brought to work; the message says why the last one failed."""


class MemoryShortageError(PoolError):
    """A forward of the configured batch size does not fit into an actor's memory."""


@dataclass(eq=False)
class Call:
    """Work given to an actor; `reply` is there once it is computed and not yet committed."""

    ref: Any
    works: list[Work]
    reply: Reply | None = None


@dataclass(eq=False)
class Slot:
    """A place for an actor, and what its actor has been given."""

    number: int
    actor: Any = None
    state: Literal["paused", "waiting", "loading", "ready"] = "paused"
    pending: Any = None  # the answer that a waiting or loading actor owes
    since: float = 0.0  # start of what the actor is doing now
    resume_at: float = 0.0
    failures: int = 0
    starts: int = 0
    place: Place | None = None
    health: Health | None = None
    calls: deque[Call] = field(default_factory=deque)

    @property
    def running(self) -> list[Call]:
        """Calls whose answer is still to come, oldest first."""
        return [call for call in self.calls if call.reply is None]

    def status(self) -> ActorStatus:
        """For the table of progress."""
        state = {"paused": "waiting", "ready": "scoring" if self.running else "idle"}
        health, place = self.health, self.place
        return ActorStatus(
            number=self.number,
            state=state.get(self.state, self.state),
            host=place.host if place else None,
            pid=place.pid if place else None,
            windows=health.windows if health else 0,
            windows_per_s=health.windows_per_s if health else None,
            memory=(health.gpu_memory or health.memory) if health else None,
            batch_size=health.batch_size if health else None,
            starts=self.starts,
        )


@dataclass(frozen=True)
class Slots:
    """How many actors there shall be, what each gets, and how long it may take.

    Attributes
    ----------
    actors
        How many; None: as many as the cluster has room for at any time.
    cpus, gpus
        Cores (and torch threads) of one actor, and GPUs or a share of one.
    timeout_s
        Seconds a shard may take before its actor is ended.
    start_timeout_s
        Seconds a forecaster may take to load, and the cluster to have room.
    """

    actors: int | None
    cpus: int = 1
    gpus: float = 0.0
    timeout_s: float = 600.0
    start_timeout_s: float = 600.0


class Pool:
    """Slots with one actor each."""

    def __init__(
        self,
        spec: ForecasterSpec,
        prices: PriceArray,
        *,
        lookback: int,
        fingerprint: str,
        slots: Slots,
    ) -> None:
        import ray

        self._ray = ray
        self._wanted = slots.actors
        self._cpus, self._gpus = cpus, gpus = slots.cpus, slots.gpus
        self._start_timeout_s = slots.start_timeout_s
        self._spec, self._prices = ray.put(spec), ray.put(prices)
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0)
        actor = remote(ScoringActor)
        self._create = lambda: actor.remote(lookback, cpus, fingerprint)
        self._failures = 0.0
        self._has_batches = getattr(spec, "batch_size", None) is not None
        self._shortages = 0
        self._adjusted = float("-inf")
        self._placed = self._warned = time.monotonic()
        self.slots: list[Slot] = []

    @property
    def ready(self) -> list[Slot]:
        """Slots whose actor can score."""
        return [slot for slot in self.slots if slot.state == "ready"]

    def adjust(self, shards_left: int) -> None:
        """Add or drop slots, start actors that are due. Raises PoolError for a dead pool."""
        now = time.monotonic()
        if now - self._adjusted >= ADJUST_EVERY_S:
            self._adjusted = now
            self._resize(shards_left)
            self._check_alive(now)
        for slot in self.slots:
            if slot.state == "paused" and now >= slot.resume_at:
                self._start(slot, now)

    def _resize(self, shards_left: int) -> None:
        wanted = self._wanted
        if wanted is None:
            wanted = max(1, cluster_slots(self._cpus, self._gpus))
        wanted = max(1, min(wanted, shards_left))
        while len(self.slots) < wanted:
            self.slots.append(Slot(len(self.slots) + 1))
        # Room has shrunk or little is left: an actor that has not begun is not waited for.
        while len(self.slots) > wanted and self.slots[-1].state in ("paused", "waiting"):
            self.end(self.slots.pop())

    def _check_alive(self, now: float) -> None:
        if any(slot.state in ("loading", "ready") for slot in self.slots):
            self._placed = now
            return
        silent = now - self._placed
        room = f"{self._cpus} CPUs" + (f" and {self._gpus:g} GPUs" if self._gpus else "")
        if silent > self._start_timeout_s:
            raise PoolError(
                f"no scoring actor could be started: for {silent:.0f} s no node of the cluster "
                f"had room for one with {room} (scoring.cpus_per_actor, scoring.gpus_per_actor)"
            )
        if silent > WARN_EVERY_S and now - self._warned > WARN_EVERY_S:
            self._warned = now
            log.warning("waiting for a node with %s for an actor, %.0f s so far", room, silent)

    def _start(self, slot: Slot, now: float) -> None:
        slot.actor = self._create()
        slot.pending = slot.actor.place.remote()
        slot.state, slot.since = "waiting", now
        slot.starts += 1
        slot.place = slot.health = None

    def advance(self, slot: Slot, now: float) -> None:
        """A waiting or loading actor has answered: placed, loaded, or failed."""
        try:
            answer = self._ray.get(slot.pending)
        except self._ray.exceptions.RayTaskError as error:
            self.check_memory(error)
            self.failed_to_start(slot, reason_of(error))
        except self._ray.exceptions.RayError as error:
            self.failed_to_start(slot, reason_of(error), DEATH_WEIGHT)
        else:
            slot.since = now
            if slot.state == "waiting":
                slot.place, slot.state = answer, "loading"
                slot.pending = slot.actor.load.remote(self._spec, self._prices)
            else:
                slot.health, slot.state, slot.pending = answer, "ready", None
                log.info("actor %d is ready: %s, %s", slot.number, slot.place, answer)

    def late_to_start(self, now: float) -> list[Slot]:
        """Slots whose actor takes too long to load its forecaster."""
        limit = now - self._start_timeout_s
        return [slot for slot in self.slots if slot.state == "loading" and slot.since < limit]

    def failed_to_start(self, slot: Slot, reason: str, weight: float = 1.0) -> None:
        """Start again later, or give up on the whole pool. Raises PoolError."""
        log.warning("an actor did not start: %s", reason)
        self._failures += weight
        if self._failures >= START_FAILURES * len(self.slots):
            raise PoolError(f"no scoring actor could be started: {reason}")
        slot.failures += 1
        self.replace(slot, min(2.0 ** (slot.failures - 2), LONGEST_PAUSE_S))

    def check_memory(self, error: Exception) -> None:
        """Raises MemoryShortageError the second time that an actor runs out of memory.

        The first time it may have been another process that took the memory.
        """
        if self._has_batches and out_of_memory(error):
            self._shortages += 1
            if self._shortages > 1:
                raise MemoryShortageError(f"an actor ran out of memory: {reason_of(error)}")

    def succeeded(self, slot: Slot) -> None:
        """An actor has scored: the pool works."""
        slot.failures = 0
        self._failures = 0.0

    def replace(self, slot: Slot, pause: float = 0.0) -> None:
        """End the slot's actor; another one takes its place after `pause` seconds."""
        self.end(slot)
        slot.calls.clear()
        slot.state, slot.pending = "paused", None
        slot.resume_at = time.monotonic() + pause

    def node_lives(self, slot: Slot) -> bool:
        """Whether the machine of the slot's actor is still part of the cluster."""
        if slot.place is None:
            return True
        alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        return slot.place.node in alive

    def end(self, slot: Slot) -> None:
        """Kill the slot's actor, if it has one."""
        if slot.actor is not None:
            self._ray.kill(slot.actor)
            slot.actor = None

    def close(self) -> None:
        """End every actor."""
        for slot in self.slots:
            self.end(slot)
        self.slots.clear()


def reason_of(error: Exception) -> str:
    """The exception itself in one line; the rest of the text is a traceback of Ray's."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return f"{type(cause).__name__}: {cause}".splitlines()[0]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Of a death Ray tells at length what may have caused it.
    return lines[-1].partition(" Worker exit detail")[0] if lines else type(error).__name__


def out_of_memory(error: Exception) -> bool:
    """Whether an exception, or what an actor raised, says that memory was not enough."""
    cause = getattr(error, "cause", None) or error
    if isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError":
        return True
    return isinstance(cause, RuntimeError) and any(text in str(cause) for text in NO_MEMORY)

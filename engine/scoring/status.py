"""How far scoring has come, told often while it runs."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ActorStatus", "Status"]


@dataclass(frozen=True)
class ActorStatus:
    """One slot of the pool.

    Attributes:
        number: the slot, from 1.
        state: waiting (for room on the cluster, or before another start) | loading | scoring |
            idle.
        host: machine it runs on; None while it waits.
        pid: its process; None while it waits.
        windows: windows this actor has scored.
        windows_per_s: its rate while scoring; None before the first.
        memory: its largest memory, bytes: the GPU's if it has one.
        batch_size: rows of one forward; None if the forecaster has no such thing.
        starts: actors this slot has had.
    """

    number: int
    state: str
    host: str | None = None
    pid: int | None = None
    windows: int = 0
    windows_per_s: float | None = None
    memory: int | None = None
    batch_size: int | None = None
    starts: int = 1


@dataclass(frozen=True)
class Status:
    """The whole pool.

    Attributes:
        windows: windows scored and committed.
        shards: files committed hold this many shards.
        retries: times work was given out again.
        quarantined: windows given up.
        actors: every slot.
    """

    windows: int
    shards: int
    retries: int
    quarantined: int
    actors: tuple[ActorStatus, ...]

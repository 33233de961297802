"""How far scoring has come, told often while it runs, and shown."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from engine.progress import WorkProgress

__all__ = ["ActorStatus", "ScoringProgress", "Status"]

log = logging.getLogger(__name__)
MOST_ROWS = 32


@dataclass(frozen=True)
class ActorStatus:
    """One slot of the pool.

    Attributes
    ----------
    number
        The slot, from 1.
    state
        waiting (for room on the cluster, or before another start) | loading | scoring | idle.
    host, pid
        Machine it runs on, and its process; None while it waits.
    windows
        Windows this actor has scored.
    windows_per_s
        Its rate while scoring; None before the first.
    memory
        Its largest memory, bytes: the GPU's if it has one.
    batch_size
        Rows of one forward; None if the forecaster has no such thing.
    starts
        Actors this slot has had.
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

    Attributes
    ----------
    windows
        Windows scored and committed.
    shards
        Files committed hold this many shards.
    retries
        Times work was given out again.
    quarantined
        Windows given up.
    actors
        Every slot.
    """

    windows: int
    shards: int
    retries: int
    quarantined: int
    actors: tuple[ActorStatus, ...]


class ScoringProgress(WorkProgress):
    """Windows done of `total`, retries, and on a terminal every actor.

    `run.log` gets a line every ten seconds and one at the end: JSON with each actor's state.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._status = Status(0, 0, 0, 0, ())
        super().__init__(console, "scoring", total, "windows")

    def hear(self, status: Status) -> None:
        """Tell how things stand, as often as you like."""
        self._status = status
        self.update(status.windows, status.quarantined)

    def _notes(self) -> list[str]:
        status = self._status
        working = sum(actor.state == "scoring" for actor in status.actors)
        counts = {
            "retries": status.retries,
            "quarantined": status.quarantined,
            f"of {len(status.actors)} actors scoring": working,
        }
        return [f"{count} {what}" for what, count in counts.items() if count]

    def _below(self) -> list[RenderableType]:
        actors = Table(box=None, pad_edge=False)
        for name in ("actor", "state", "host", "windows", "windows/s", "memory", "batch", "starts"):
            actors.add_column(name, justify="left" if name in ("state", "host") else "right")
        for actor in self._status.actors[:MOST_ROWS]:
            actors.add_row(*_cells(actor))
        more = len(self._status.actors) - MOST_ROWS
        return [actors, *([Text(f"and {more} more actors")] if more > 0 else [])]

    def _line(self) -> None:
        super()._line()
        status, rate, left = self._status, self._rate(), self._left()
        fields: dict[str, Any] = {
            "windows": status.windows,
            "planned": self._total,
            "windows_per_s": None if rate is None else round(rate, 2),
            "seconds_left": None if left is None else round(left, 1),
            "shards": status.shards,
            "retries": status.retries,
            "quarantined": status.quarantined,
            "actors": [asdict(actor) for actor in status.actors],
        }
        log.info("scoring: %s", "  ".join(self._figures()), extra={"fields": fields})


def _cells(actor: ActorStatus) -> list[str]:
    rate, memory = actor.windows_per_s, actor.memory
    return [
        str(actor.number),
        actor.state,
        actor.host or "–",
        f"{actor.windows:,}",
        f"{rate:,.1f}" if rate else "–",
        f"{memory / 1e9:.1f} GB" if memory else "–",
        str(actor.batch_size or "–"),
        str(actor.starts),
    ]

"""The live table of a scoring run; plain lines where there is no terminal; JSON in `run.log`."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engine.scoring.status import ActorStatus, Status

__all__ = ["ScoringProgress"]

log = logging.getLogger(__name__)
LINE_EVERY_S = 10.0
REFRESH_EVERY_S = 0.25
MOST_ROWS = 32


class ScoringProgress:
    """Shows windows done of `total`, their rate, the time left, retries, and every actor.

    A log gets a line every ten seconds and one at the end; `run.log` gets the same as JSON, with
    the state of each actor.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._status = Status(0, 0, 0, 0, ())
        self._started = self._said = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(self._table(), console=console, auto_refresh=False)
        self._shown = 0.0

    def __enter__(self) -> ScoringProgress:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.update(self._table(), refresh=True)
            self._live.stop()
        if kind is None:
            self._line()

    def update(self, status: Status) -> None:
        """Tell how things stand, as often as you like."""
        self._status = status
        now = time.monotonic()
        if self._first is None and status.windows:
            self._first = now, status.windows
        if self._live and now - self._shown > REFRESH_EVERY_S:
            self._shown = now
            self._live.update(self._table(), refresh=True)
        if now - self._said > LINE_EVERY_S:
            self._line()

    def _rate(self) -> float | None:
        """Windows per second since the first came back: loading the model is no measure."""
        now = time.monotonic()
        if self._first is None:
            return None
        since, windows = self._first
        if self._status.windows > windows:
            return (self._status.windows - windows) / max(now - since, 1e-9)
        return self._status.windows / max(now - self._started, 1e-9)

    def _left(self) -> float | None:
        rate = self._rate()
        left = self._total - self._status.windows - self._status.quarantined
        return left / rate if rate else None

    def _figures(self) -> list[str]:
        status, rate, left = self._status, self._rate(), self._left()
        parts = [f"{status.windows:,}/{self._total:,}"]
        parts.append(f"{rate:,.1f} windows/s" if rate else "– windows/s")
        if left:
            parts.append(f"about {_duration(left)} left")
        if status.retries:
            parts.append(f"{status.retries} retries")
        if status.quarantined:
            parts.append(f"{status.quarantined} quarantined")
        return parts

    def _table(self) -> Group:
        status = self._status
        done = status.windows + status.quarantined
        bar = Table.grid()  # alone, a bar ends without a new line
        bar.add_row(ProgressBar(total=max(self._total, 1), completed=done, width=60))
        actors = Table(box=None, pad_edge=False)
        for name in ("actor", "state", "host", "windows", "windows/s", "memory", "batch", "starts"):
            actors.add_column(name, justify="left" if name in ("state", "host") else "right")
        for actor in status.actors[:MOST_ROWS]:
            actors.add_row(*_cells(actor))
        more = len(status.actors) - MOST_ROWS
        rest = [Text(f"and {more} more actors")] if more > 0 else []
        return Group(Text("scoring  " + "  ".join(self._figures())), bar, actors, *rest)

    def _line(self) -> None:
        self._said = time.monotonic()
        status = self._status
        working = sum(actor.state == "scoring" for actor in status.actors)
        if not self._live:
            parts = [f"scoring: {self._figures()[0]}", *self._figures()[1:]]
            if working:
                parts.append(f"{working} of {len(status.actors)} actors scoring")
            self._console.print("  ".join(parts), highlight=False)
        rate, left = self._rate(), self._left()
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


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:,.0f} s"
    if seconds < 6_000:
        return f"{seconds / 60:,.0f} min"
    return f"{seconds / 3600:,.1f} h"

"""How far long work has come: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

__all__ = ["WorkProgress"]

LINE_EVERY_S = 10.0
REFRESH_EVERY_S = 0.25


class WorkProgress:
    """Counts `total` items of work; `update(done)` as often as you like.

    On a terminal a bar with rate and time left; elsewhere a line every ten seconds and at the
    end, so that a log stays readable.
    """

    def __init__(self, console: Console, what: str, total: int, unit: str) -> None:
        self._console, self._what, self._total, self._unit = console, what, total, unit
        self._done = self._failed = 0
        self._started = self._said = time.monotonic()
        self._shown = 0.0
        self._first: tuple[float, int] | None = None
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(console=console, auto_refresh=False, get_renderable=self._drawn)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start(refresh=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._live:
            self._live.refresh()
            self._live.stop()
        if kind is None:
            self._line()

    def update(self, done: int, failed: int = 0, *, what: str | None = None) -> None:
        """Tell how many items are finished, how many were given up, and what is being done."""
        self._done, self._failed = done, failed
        self._what = what or self._what
        now = time.monotonic()
        if self._first is None and done:
            self._first = now, done
        if self._live and now - self._shown > REFRESH_EVERY_S:
            self._shown = now
            self._live.refresh()
        if now - self._said > LINE_EVERY_S:
            self._line()

    def _rate(self) -> float | None:
        """Items per second since the first came back: loading a model is no measure."""
        now = time.monotonic()
        if self._first is None:
            return None
        since, done = self._first
        if self._done > done:
            return (self._done - done) / max(now - since, 1e-9)
        return self._done / max(now - self._started, 1e-9)

    def _left(self) -> float | None:
        """Seconds."""
        rate = self._rate()
        return (self._total - self._done - self._failed) / rate if rate else None

    def _figures(self) -> list[str]:
        rate, left = self._rate(), self._left()
        parts = [f"{self._done:,}/{self._total:,}"]
        parts.append(f"{rate:,.1f} {self._unit}/s" if rate else f"– {self._unit}/s")
        if left:
            parts.append(f"about {_duration(left)} left")
        return [*parts, *self._notes()]

    def _notes(self) -> list[str]:
        """What else a line says."""
        return [f"{self._failed} given up"] if self._failed else []

    def _below(self) -> list[RenderableType]:
        """What else a terminal shows."""
        return []

    def _drawn(self) -> Group:
        bar = Table.grid()  # alone, a bar ends without a new line
        done = self._done + self._failed
        bar.add_row(ProgressBar(total=max(self._total, 1), completed=done, width=60))
        return Group(Text("  ".join([self._what, *self._figures()])), bar, *self._below())

    def _line(self) -> None:
        self._said = time.monotonic()
        if not self._live:
            line = f"{self._what}: {'  '.join(self._figures())}"
            self._console.print(line, highlight=False, markup=False)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:,.0f} s"
    if seconds < 6_000:
        return f"{seconds / 60:,.0f} min"
    return f"{seconds / 3600:,.1f} h"

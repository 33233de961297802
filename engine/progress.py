"""How far long work has come: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["WorkProgress"]

LINE_EVERY_S = 10.0


class _Rate(ProgressColumn):
    """Items per second so far."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f} {self._unit}/s" if speed else f"– {self._unit}/s")


class WorkProgress:
    """Counts `total` items of work; `update(done)` as often as you like.

    On a terminal a bar with rate and time left; elsewhere a line every ten seconds and at the
    end, so that a log stays readable.
    """

    def __init__(self, console: Console, what: str, total: int, unit: str) -> None:
        self._console = console
        self._what = what
        self._total = total
        self._unit = unit
        self._done = 0
        self._failed = 0
        self._started = self._said = time.monotonic()
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(unit),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
            )
            self._task = self._bar.add_task(what, total=total)

    def __enter__(self) -> WorkProgress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()
        elif kind is None:
            self._line()

    def update(self, done: int, failed: int = 0, *, what: str | None = None) -> None:
        """Tell how many items are finished, how many were given up, and what is being done."""
        self._done, self._failed = done, failed
        self._what = what or self._what
        if self._bar:
            what = f"{self._what} ({failed} given up)" if failed else self._what
            self._bar.update(self._task, completed=done, description=what)
        elif time.monotonic() - self._said > LINE_EVERY_S:
            self._line()

    def _line(self) -> None:
        self._said = time.monotonic()
        rate = self._done / max(self._said - self._started, 1e-9)
        parts = [f"{self._what}: {self._done:,}/{self._total:,}", f"{rate:,.1f} {self._unit}/s"]
        left = self._total - self._done - self._failed
        if left and rate:
            parts.append(f"about {left / rate:,.0f} s left")
        if self._failed:
            parts.append(f"{self._failed} given up")
        self._console.print("  ".join(parts), highlight=False)

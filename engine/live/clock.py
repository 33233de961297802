"""Whose time it is: the system's, or that of a replay.

A replay's time is in a file, so that a process that dies finds the same time when it starts
again, and whoever plays the other side (a stand-in broker) sees it too.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from engine.files import write_text

__all__ = ["Clock", "FileClock", "SystemClock"]

MAX_NAP_S = 5.0


class Clock(Protocol):
    """Now, and waiting for later."""

    def now(self) -> datetime:
        """The present, UTC, with its zone."""
        ...

    def wait_until(self, when: datetime) -> None:
        """Return at `when` or after it; at once when it has passed."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present, UTC."""
        return datetime.now(UTC)

    def wait_until(self, when: datetime) -> None:
        """Sleep in short naps: a laptop that slept itself wakes up on time."""
        while (left := (when - self.now()).total_seconds()) > 0:
            time.sleep(min(left, MAX_NAP_S))


class FileClock:
    """A replay's clock: waiting moves the time on, and takes none."""

    def __init__(self, path: Path, start: datetime | None = None) -> None:
        self._path = path
        if not path.exists():
            if start is None:
                raise ValueError(f"{path}: no replay time there and none given to start from")
            write_text(path, start.astimezone(UTC).isoformat())

    def now(self) -> datetime:
        """The replay's time."""
        return datetime.fromisoformat(self._path.read_text(encoding="utf-8"))

    def wait_until(self, when: datetime) -> None:
        """Set the time to `when`; it never goes back."""
        if when > self.now():
            write_text(self._path, when.astimezone(UTC).isoformat())

"""Kills a live loop at random moments, so that another can be compared with one left alone."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from engine.live.monitor import STATUS

__all__ = ["Killer"]

_START_S = 120.0
# The share of kills that come while the process starts.
_AT_START = 0.1


@dataclass
class Killer:
    """Kills a process when its replay has come to a random session, at a random moment of it.

    Attributes
    ----------
    kills, sessions
        How often, and over how many.
    session_s
        About how long a session takes.
    done
        Kills so far.
    """

    kills: int
    sessions: int
    seed: int
    session_s: float
    done: int = 0
    _random: random.Random = field(init=False, repr=False)
    _when: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._when = sorted(self._random.randrange(self.sessions) for _ in range(self.kills))

    def watch(
        self, process: subprocess.Popen[bytes], folder: Path, progress: Callable[[], int]
    ) -> None:
        """Wait until the process ends, or end it. `progress` counts the sessions it is through."""
        if self.done >= self.kills:
            process.wait()
            return
        if self._random.random() < _AT_START:
            life = self._random.uniform(0.0, 2.0)
        else:
            ready = partial(_is_process, folder, process.pid)
            _wait(lambda: ready() or process.poll() is not None)
            due = self._when[self.done]
            _wait(lambda: progress() >= due or process.poll() is not None)
            life = self._random.uniform(0.0, self.session_s)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(life)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.done += 1


def _is_process(folder: Path, process: int) -> bool:
    """Whether the loop of the folder is that process, and at work."""
    try:
        found = json.loads((folder / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found["process"] == process)


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)

"""Learning rate, time budget and progress line of a stage."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator

from kronos.training.settings import StageSettings

__all__ = ["Progress", "one_cycle"]

FINAL_DIV_FACTOR = 1e4


def one_cycle(progress: float, stage: StageSettings) -> float:
    """Learning rate at ``progress`` in [0, 1]: cosine up to the peak, cosine down (Smith, 2018)."""
    peak = stage.learning_rate
    low, final = peak / stage.div_factor, peak / stage.div_factor / FINAL_DIV_FACTOR
    if progress < stage.pct_start:
        start, end, share = low, peak, progress / stage.pct_start
    else:
        start, end = peak, final
        share = (progress - stage.pct_start) / (1 - stage.pct_start)
    return end + (start - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


class Progress:
    """Counts steps up to a number or, with ``seconds``, until the time is used up.

    Iterating gives (step, progress in [0, 1)). Only a run without ``seconds`` is reproducible.
    """

    def __init__(self, name: str, steps: int, seconds: float | None = None) -> None:
        self.name, self.steps, self.seconds = name, steps, seconds
        self.started = time.monotonic()
        self.step = 0

    def __iter__(self) -> Iterator[tuple[int, float]]:
        while (done := self.fraction()) < 1:
            yield self.step, done
            self.step += 1

    def fraction(self) -> float:
        if self.seconds is None:
            return self.step / self.steps if self.steps else 1.0
        return (time.monotonic() - self.started) / self.seconds

    def say(self, message: str) -> None:
        """One line on stderr with the rate and the time left."""
        elapsed = time.monotonic() - self.started
        done = max(self.fraction(), 1e-9)
        left = max(elapsed / done - elapsed, 0.0)
        rate = self.step / elapsed if elapsed else 0.0
        sys.stderr.write(
            f"{self.name} step {self.step} ({min(done, 1):.0%}, {rate:.2f} steps/s, "
            f"{left / 60:.1f} min left): {message}\n"
        )
        sys.stderr.flush()

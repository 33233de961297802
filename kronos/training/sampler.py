"""Which windows a step sees: a function of (seed, epoch, step), shared out among the workers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kronos.training.windows import Batch, Windows

__all__ = ["Draw", "WindowSampler"]


@dataclass(frozen=True, eq=False)
class Draw:
    """What one worker computes in one step: its windows, and its share of the step's noise.

    ``noise`` float64 [B, L - 1] are uniforms in [0, 1), one for every predicted bar.
    """

    batch: Batch
    noise: np.ndarray


class WindowSampler:
    """Windows drawn uniformly, with replacement, over (ticker, start).

    A step's windows, its context length and its noise belong to (seed, epoch, step). Worker
    ``rank`` of ``world`` takes every ``world``-th window from the ``rank``-th on, so that workers
    see different windows, epochs too, and all workers together see the same whatever their number.

    Parameters
    ----------
    batch
        Windows of a step, over all workers.
    epoch_windows
        Windows of an epoch; rounded up to whole steps.
    context
        (shortest, longest) context, drawn once a step.

    Raises
    ------
    ValueError
        Unless ``batch`` is a multiple of ``world``.
    """

    def __init__(
        self,
        windows: Windows,
        *,
        batch: int,
        epoch_windows: int,
        context: tuple[int, int],
        seed: int,
        stream: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch % world:
            raise ValueError(f"a batch of {batch} windows cannot be shared evenly by {world}")
        self.windows, self.batch, self.context = windows, batch, context
        self.rank, self.world = rank, world
        self.epoch_steps = -(-epoch_windows // batch)
        self.key = (seed, stream)
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)

    def state(self, step: int) -> dict[str, int]:
        """Where ``step`` stands: with the seed, all that decides what comes next."""
        return {"epoch": step // self.epoch_steps, "epoch_step": step % self.epoch_steps}

    def starts(self, step: int) -> np.ndarray:
        """int64 [batch], rows of all workers' windows."""
        epoch, within = divmod(step, self.epoch_steps)
        return self._epoch(epoch)[within * self.batch : (within + 1) * self.batch]

    def draw(self, step: int) -> Draw:
        """This worker's part of ``step``."""
        rng = np.random.default_rng([*self.key, 1, step])
        context = int(rng.integers(self.context[0], self.context[1] + 1))
        noise = rng.random((self.batch, self.windows.length - 1))
        mine = slice(self.rank, None, self.world)
        return Draw(self.windows.take(self.starts(step)[mine], context), noise[mine])

    def _draw_epoch(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng([*self.key, 0, epoch])
        return rng.choice(self.windows.starts, size=self.epoch_steps * self.batch)

"""The result of a forecast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kronos.bars import COLUMNS

__all__ = ["Forecast"]

CLOSE = COLUMNS.index("close")


@dataclass(frozen=True, eq=False)
class Forecast:
    """Sampled future bars of a batch of windows, in price units.

    paths : float32 [windows, n_paths, steps, 6], columns open, high, low, close, volume, amount
    last_close : float32 [windows], the close of each window's last bar
    """

    paths: np.ndarray
    last_close: np.ndarray

    @property
    def n_paths(self) -> int:
        return self.paths.shape[1]

    @property
    def steps(self) -> int:
        return self.paths.shape[2]

    @property
    def mean(self) -> np.ndarray:
        """Mean over paths: float32 [windows, steps, 6]."""
        return self.paths.mean(axis=1, dtype=np.float64).astype(np.float32)

    @property
    def close(self) -> np.ndarray:
        """Closes of all paths: float32 [windows, n_paths, steps]."""
        return self.paths[..., CLOSE]

    def quantile(self, q: float) -> np.ndarray:
        """Quantile ``q`` over paths, linear between order statistics: [windows, steps, 6]."""
        if not 0 <= q <= 1:
            raise ValueError(f"q is {q}; a quantile lies in [0, 1]")
        return np.quantile(self.paths, q, axis=1).astype(np.float32)

    def p_up(self, step: int) -> np.ndarray:
        """Share of paths [windows] whose close ``step`` bars ahead (from 1) is above the last."""
        if not 1 <= step <= self.steps:
            raise ValueError(f"step is {step}; this forecast has steps 1..{self.steps}")
        return (self.close[:, :, step - 1] > self.last_close[:, None]).mean(axis=1)

"""Forecast bars that cannot be: counted always, mended on request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kronos.bars import COLUMNS, PRICE_COLUMNS

__all__ = ["Sanity", "count_impossible", "repair_bars"]

OPEN, HIGH, LOW, CLOSE = (COLUMNS.index(name) for name in PRICE_COLUMNS)
PRICES = slice(0, len(PRICE_COLUMNS))
SIZES = slice(len(PRICE_COLUMNS), len(COLUMNS))


@dataclass(frozen=True, eq=False)
class Sanity:
    """Counts a window, int64 [windows], over all its paths and steps, before any repair.

    non_finite : bars with a value that is not finite
    negative_volume : bars with volume or amount below 0
    high_below_low : bars whose high is below the low
    first_step_jump : paths whose first close is further from the last known close than
        ``jump_sigmas`` standard deviations of the window's close-to-close changes
    """

    non_finite: np.ndarray
    negative_volume: np.ndarray
    high_below_low: np.ndarray
    first_step_jump: np.ndarray

    def totals(self) -> dict[str, int]:
        """Sums over windows."""
        return {name: int(counts.sum()) for name, counts in vars(self).items()}


def count_impossible(
    paths: np.ndarray, last_close: np.ndarray, change_std: np.ndarray, *, jump_sigmas: float
) -> Sanity:
    """:class:`Sanity` of ``paths`` [windows, n_paths, steps, 6].

    last_close, change_std : [windows], of the closes of the context and of their changes
    """
    with np.errstate(invalid="ignore"):
        jump = np.abs(paths[:, :, 0, CLOSE] - last_close[:, None])
        return Sanity(
            (~np.isfinite(paths).all(axis=-1)).sum(axis=(1, 2)),
            (paths[..., SIZES] < 0).any(axis=-1).sum(axis=(1, 2)),
            (paths[..., HIGH] < paths[..., LOW]).sum(axis=(1, 2)),
            (jump > jump_sigmas * change_std[:, None]).sum(axis=1),
        )


def repair_bars(paths: np.ndarray, last_close: np.ndarray) -> np.ndarray:
    """A copy of ``paths`` [windows, n_paths, steps, 6] without impossible bars.

    In this order: a bar with a value that is not finite becomes a flat bar at the close before it,
    without volume; negative volume and amount become 0; high and low become the highest and the
    lowest of the four prices. Open and close of a finite bar, and first-step jumps, are left alone.
    """
    mended = paths.copy()
    before = np.broadcast_to(last_close[:, None], mended.shape[:2])
    for step in range(mended.shape[2]):
        bar = mended[:, :, step]
        broken = ~np.isfinite(bar).all(axis=-1, keepdims=True)
        flat = np.zeros_like(bar)
        flat[..., PRICES] = before[..., None]
        bar[...] = np.where(broken, flat, bar)
        before = bar[..., CLOSE]
    mended[..., SIZES] = np.maximum(mended[..., SIZES], 0)
    prices = mended[..., PRICES]
    high, low = prices.max(axis=-1), prices.min(axis=-1)
    mended[..., HIGH], mended[..., LOW] = high, low
    return mended

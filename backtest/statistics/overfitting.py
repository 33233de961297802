"""Probability of backtest overfitting: does the best of a search stay good out of sample?"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["MIN_TRIALS", "overfitting_logits", "probability_of_overfitting"]

Floats = NDArray[np.float64]

# DESIGN: "PBO by CSCV on a grid's returns, null under 10 trials".
MIN_TRIALS = 10
_BLOCKS = 16


def probability_of_overfitting(returns: ArrayLike, *, blocks: int = _BLOCKS) -> float | None:
    """PBO by combinatorially symmetric cross-validation (Bailey, Borwein, López de Prado and Zhu,
    2015).

    Takes (trials, sessions) daily returns on common sessions, all finite. The share of the splits
    of ``blocks`` blocks of sessions into two halves in which the trial with the best Sharpe of one
    half is below the median in the other. None under ten trials or with fewer than two sessions a
    block.
    """
    matrix = np.asarray(returns, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) < MIN_TRIALS or matrix.shape[1] < 2 * blocks:
        return None
    return float((overfitting_logits(matrix, blocks=blocks) < 0).mean())


def overfitting_logits(returns: ArrayLike, *, blocks: int = _BLOCKS) -> Floats:
    """Logit of the out-of-sample rank of the in-sample best, one for every split.

    The rank (average for ties) is taken over the number of trials + 1. Sharpes come from sums over
    blocks, so that C(16, 8) = 12,870 splits cost a matrix product. Raises ValueError for returns
    that are not finite or an odd number of blocks.
    """
    from scipy.stats import rankdata

    matrix = np.asarray(returns, dtype=np.float64)
    if blocks % 2 or not np.isfinite(matrix).all():
        raise ValueError("PBO needs an even number of blocks and finite returns")
    # Centring changes no variance and keeps the sums of squares exact.
    centre = matrix.mean(axis=1, keepdims=True)
    pieces = np.array_split(matrix - centre, blocks, axis=1)
    sums = np.stack([piece.sum(axis=1) for piece in pieces])
    squares = np.stack([(piece**2).sum(axis=1) for piece in pieces])
    sizes = np.array([piece.shape[1] for piece in pieces], dtype=np.float64)
    chosen = np.array(
        [np.isin(np.arange(blocks), out) for out in combinations(range(blocks), blocks // 2)],
        dtype=np.float64,
    )

    def sharpes(mask: Floats) -> Floats:
        n = (mask @ sizes)[:, None]
        mean = mask @ sums / n
        variance = (mask @ squares - n * mean**2) / (n - 1)
        floor = 1e-24 * np.maximum(1.0, (centre[:, 0] + mean) ** 2)
        flat = variance <= floor
        return np.where(flat, 0.0, (mean + centre[:, 0]) / np.sqrt(np.where(flat, 1, variance)))

    inside, outside = sharpes(1 - chosen), sharpes(chosen)
    best = inside.argmax(axis=1)
    ranks = rankdata(outside, axis=1)[np.arange(len(best)), best]
    relative = ranks / (len(matrix) + 1)
    return np.log(relative / (1 - relative))

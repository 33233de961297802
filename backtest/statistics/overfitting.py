"""What the search for a strategy costs its result: deflated Sharpe, probability of overfitting.

1. ``deflation`` puts a Sharpe ratio beside the best that as many worthless trials would show
2. ``probability_of_overfitting`` asks whether the best of a search stays good out of sample
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from .performance import period_sharpe

__all__ = [
    "MIN_TRIALS",
    "deflation",
    "expected_max_sharpe",
    "overfitting_logits",
    "probabilistic_sharpe",
    "probability_of_overfitting",
    "shared_overfitting",
]

Floats = NDArray[np.float64]

# DESIGN: "PBO by CSCV on a grid's returns, null under 10 trials".
MIN_TRIALS = 10
_BLOCKS = 16


def probabilistic_sharpe(returns: ArrayLike, *, benchmark: float = 0.0) -> float | None:
    """Probability that the true Sharpe exceeds ``benchmark`` (Bailey and López de Prado, 2012).

    Φ((SR − SR*) √(T − 1) / √(1 − γ₃ SR + (γ₄ − 1)/4 SR²)) with SR and SR* a period, γ₃ and γ₄ the
    returns' skewness and kurtosis (population moments, 3 for a normal). None where there is no
    Sharpe or where the moments make the root imaginary.
    """
    from scipy.stats import norm

    values = np.asarray(returns, dtype=np.float64)
    ratio = period_sharpe(values)
    if ratio is None:
        return None
    centred = values - values.mean()
    spread = math.sqrt(float(np.mean(centred**2)))
    skewness = float(np.mean(centred**3)) / spread**3
    kurtosis = float(np.mean(centred**4)) / spread**4
    variance = 1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2
    if variance <= 0:
        return None
    return float(norm.cdf((ratio - benchmark) * math.sqrt(values.size - 1) / math.sqrt(variance)))


def expected_max_sharpe(trials: int, variance: float) -> float:
    """Expected best Sharpe a period among ``trials`` worthless ones (Bailey and López de Prado,
    2014): √V ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e))), γ Euler's constant; 0 for one trial."""
    from scipy.stats import norm

    if trials < 1 or variance < 0:
        raise ValueError(f"trials {trials} must be at least 1 and variance {variance} not below 0")
    if trials == 1:
        return 0.0
    gamma = float(np.euler_gamma)
    first, second = norm.ppf(1 - 1 / trials), norm.ppf(1 - 1 / (trials * math.e))
    return float(math.sqrt(variance) * ((1 - gamma) * first + gamma * second))


def deflation(
    returns: ArrayLike, *, trials: int, sharpes: Sequence[float], periods_per_year: int
) -> dict[str, Any]:
    """Entries of ``metrics["portfolio"]``: trials, probabilistic_sharpe, deflated_sharpe and
    sharpe_expected_max (a year). The deflated Sharpe is the probabilistic one against the best of
    as many worthless trials (Bailey and López de Prado, 2014).

    ``sharpes`` are those recorded, a period. Their variance is taken, but not less than 1/(T − 1),
    the sampling variance of a worthless strategy's Sharpe: a few near-copies of one strategy would
    otherwise make the search look harmless.
    """
    values, best = np.asarray(returns, dtype=np.float64), None
    if values.size > 1:
        recorded = float(np.var(sharpes, ddof=1)) if len(sharpes) > 1 else 0.0
        best = expected_max_sharpe(trials, max(recorded, 1 / (values.size - 1)))
    return {
        "trials": trials,
        "probabilistic_sharpe": probabilistic_sharpe(values),
        "deflated_sharpe": None if best is None else probabilistic_sharpe(values, benchmark=best),
        "sharpe_expected_max": None if best is None else best * math.sqrt(periods_per_year),
    }


def shared_overfitting(series: Sequence[pl.DataFrame]) -> float | None:
    """:func:`probability_of_overfitting` of frames (date, net) on the sessions that all have."""
    if not series or any(frame.is_empty() for frame in series):
        return None
    common = set.intersection(*(set(frame["date"]) for frame in series))
    held = [frame.filter(pl.col("date").is_in(list(common))).sort("date") for frame in series]
    return probability_of_overfitting(np.vstack([frame["net"].to_numpy() for frame in held]))


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

"""How much of a Sharpe ratio is left once its sampling error and the search for it are paid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "deflated_sharpe",
    "deflation",
    "expected_max_sharpe",
    "period_sharpe",
    "probabilistic_sharpe",
]


def period_sharpe(returns: ArrayLike) -> float | None:
    """Mean / standard deviation (ddof 1), not annualised; None below two or for equal returns."""
    values = np.asarray(returns, dtype=np.float64)
    if values.size < 2 or np.ptp(values) == 0:
        return None
    return float(values.mean() / values.std(ddof=1))


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


def deflated_sharpe(returns: ArrayLike, *, trials: int, variance: float) -> float | None:
    """:func:`probabilistic_sharpe` against the best of ``trials`` worthless ones (Bailey and López
    de Prado, 2014). ``variance`` is that of the trials' Sharpes, a period."""
    return probabilistic_sharpe(returns, benchmark=expected_max_sharpe(trials, variance))


def deflation(
    returns: ArrayLike, *, trials: int, sharpes: Sequence[float], periods_per_year: int
) -> dict[str, Any]:
    """Entries of ``metrics["portfolio"]``: trials, probabilistic_sharpe, deflated_sharpe and
    sharpe_expected_max (a year).

    ``sharpes`` are those recorded, a period. Their variance is taken, but not less than 1/(T − 1),
    the sampling variance of a worthless strategy's Sharpe: a few near-copies of one strategy would
    otherwise make the search look harmless.
    """
    values = np.asarray(returns, dtype=np.float64)
    found: dict[str, Any] = {
        "trials": trials,
        "probabilistic_sharpe": probabilistic_sharpe(values),
        "deflated_sharpe": None,
        "sharpe_expected_max": None,
    }
    if values.size < 2:
        return found
    variance = max(
        float(np.var(sharpes, ddof=1)) if len(sharpes) > 1 else 0.0, 1 / (values.size - 1)
    )
    found["deflated_sharpe"] = deflated_sharpe(values, trials=trials, variance=variance)
    found["sharpe_expected_max"] = expected_max_sharpe(trials, variance) * math.sqrt(
        periods_per_year
    )
    return found

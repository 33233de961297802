"""What all tickers share: volatility regimes, the market's return, the sectors' returns.

The regime is a Markov chain of three states; within it volatility follows a GARCH(1, 1) whose
level is the regime's (Bollerslev, 1986; Haas, Mittnik and Paolella, 2004).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.data.simulated.draws import MARKET, Randomness

__all__ = ["ALPHA", "BETA", "YEAR", "Factors", "simulate_factors"]

YEAR = 252
ALPHA, BETA = 0.08, 0.90

# Calm, usual, crisis: chance a session of leaving for each state, volatility relative to usual of
# the market and of single names, and the market's drift a year.
_LEAVE = np.array([[0.9970, 0.0030, 0.0], [0.0040, 0.9930, 0.0030], [0.0, 0.0200, 0.9800]])
_MARKET_LEVEL = np.array([0.65, 1.0, 2.1])
_NAME_LEVEL = np.array([0.80, 1.0, 1.8])
_DRIFT = np.array([0.12, 0.08, -0.25])
_MARKET_VOLATILITY = 0.15
_SECTOR_VOLATILITY = 0.10


@dataclass(frozen=True)
class Factors:
    """The shared part of the market, log returns a session.

    Attributes
    ----------
    regime
        0 calm, 1 usual, 2 crisis [sessions].
    market, market_night
        The market's return, and the part of it before the open [sessions].
    market_sigma, next_sigma
        Its conditional standard deviation, known before the session, and that of the session after,
        known at its close [sessions].
    sectors
        Returns of the sectors [sessions, sectors].
    level
        Variance of single names relative to usual [sessions].
    extremes
        Uniforms for the index's high and low [sessions, 2].
    """

    regime: np.ndarray
    market: np.ndarray
    market_night: np.ndarray
    market_sigma: np.ndarray
    next_sigma: np.ndarray
    sectors: np.ndarray
    level: np.ndarray
    extremes: np.ndarray


def simulate_factors(randomness: Randomness, sessions: int, sectors: int) -> Factors:
    """The factors of `sessions` sessions; a longer run begins with the shorter."""
    uniform = randomness.uniforms(MARKET, 0, sessions, 3)
    normal = randomness.normals(MARKET, 1, sessions, 2)
    sector_normal = randomness.normals(MARKET, 2, sessions, sectors)
    regime = _regimes(uniform[:, 0])
    usual = _MARKET_VOLATILITY**2 / YEAR
    path = np.sqrt(_garch(usual * _MARKET_LEVEL[regime] ** 2, normal[:, 0], start=usual))
    sigma = path[:-1]
    drift = _DRIFT[regime] / YEAR - sigma**2 / 2
    market = drift + sigma * normal[:, 0]
    level = _NAME_LEVEL[regime] ** 2
    scale = _SECTOR_VOLATILITY / np.sqrt(YEAR) * np.sqrt(level)
    return Factors(
        regime=regime,
        market=market,
        market_night=0.3 * market + np.sqrt(0.21) * sigma * normal[:, 1],
        market_sigma=sigma,
        next_sigma=path[1:],
        sectors=scale[:, None] * sector_normal,
        level=level,
        extremes=uniform[:, 1:],
    )


def _regimes(uniform: np.ndarray) -> np.ndarray:
    bounds = _LEAVE.cumsum(axis=1)[:, :2].tolist()
    state, path = 1, np.empty(len(uniform), dtype=np.int8)
    for at, u in enumerate(uniform.tolist()):
        low, high = bounds[state]
        state = 0 if u < low else 1 if u < high else 2
        path[at] = state
    return path


def _garch(level: np.ndarray, normal: np.ndarray, *, start: float) -> np.ndarray:
    """Variance before each session, and after the last [sessions + 1]."""
    variance, path = start, [start]
    for base, z in zip(level.tolist(), normal.tolist(), strict=True):
        # The regime of a session sets the level that the next variance is drawn to.
        variance = (1 - ALPHA - BETA) * base + variance * (ALPHA * z * z + BETA)
        path.append(variance)
    return np.array(path)

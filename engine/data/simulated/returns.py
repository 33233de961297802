"""Returns: what all tickers share, and what each earns of its own.

1. `simulate_factors` draws volatility regimes, the market's return and the sectors'.
2. `traits` fixes what a ticker is; `name_returns` adds its loadings on the factors, its own noise,
   news and ending, and the planted part.

The regime is a Markov chain of three states; within it volatility follows a GARCH(1, 1) whose
level is the regime's (Bollerslev, 1986; Haas, Mittnik and Paolella, 2004).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtri

from engine.config.data import SimulatedSettings
from engine.data.simulated.draws import MARKET, TRAITS, Draws, Randomness

__all__ = [
    "NIGHT",
    "YEAR",
    "Factors",
    "Returns",
    "Traits",
    "name_returns",
    "simulate_factors",
    "traits",
]

YEAR = 252
_ALPHA, _BETA = 0.08, 0.90

# Calm, usual, crisis: chance a session of leaving for each state, volatility relative to usual of
# the market and of single names, and the market's drift a year.
_LEAVE = np.array([[0.9970, 0.0030, 0.0], [0.0040, 0.9930, 0.0030], [0.0, 0.0200, 0.9800]])
_MARKET_LEVEL = np.array([0.65, 1.0, 2.1])
_NAME_LEVEL = np.array([0.80, 1.0, 1.8])
_DRIFT = np.array([0.12, 0.08, -0.25])
_MARKET_VOLATILITY = 0.15
_SECTOR_VOLATILITY = 0.10

NIGHT = 0.3
"""Share of a session's variance before the open."""

_NEWS_A_YEAR = 4
_NEWS_SIGMAS = 3.0
_MERGER, _FAILURE = 1, 2
_MERGERS = 0.6
# After the announcement: sessions to the last bar, jump, volatility relative to before.
_ENDING = {_MERGER: (40, 0.22, 0.15), _FAILURE: (60, -0.9, 2.0)}
# Names come in over this many years; an absolute span, so that a longer run keeps the dates.
_LISTING_YEARS = 12


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
    path = np.sqrt(_market_variance(usual * _MARKET_LEVEL[regime] ** 2, normal[:, 0], start=usual))
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


def _market_variance(level: np.ndarray, normal: np.ndarray, *, start: float) -> np.ndarray:
    """Variance before each session, and after the last [sessions + 1]."""
    variance, path = start, [start]
    for base, z in zip(level.tolist(), normal.tolist(), strict=True):
        # The regime of a session sets the level that the next variance is drawn to.
        variance = (1 - _ALPHA - _BETA) * base + variance * (_ALPHA * z * z + _BETA)
        path.append(variance)
    return np.array(path)


@dataclass(frozen=True)
class Traits:
    """What is fixed of each ticker [tickers]: sector, loadings, volatility a year, first price,
    value traded a session, first session, dividend yield a year and its first session, and the
    price at which it splits."""

    number: np.ndarray
    sector: np.ndarray
    beta: np.ndarray
    sector_beta: np.ndarray
    volatility: np.ndarray
    price: np.ndarray
    traded: np.ndarray
    listed: np.ndarray
    dividend_yield: np.ndarray
    dividend_phase: np.ndarray
    split_price: np.ndarray


@dataclass(frozen=True)
class Returns:
    """Log total returns of some tickers, [sessions, tickers] unless said otherwise.

    Attributes
    ----------
    base
        Without the planted part.
    planted
        One unit of it: the return is base + strength × planted.
    night
        The part of base before the open.
    sigma
        Conditional standard deviation of the session.
    signal
        The latent signal, standard normal, known at the close.
    last
        The first session without it, or the number of sessions while it trades [tickers].
    ending
        0 none, 1 merger, 2 failure [tickers].
    """

    base: np.ndarray
    planted: np.ndarray
    night: np.ndarray
    sigma: np.ndarray
    signal: np.ndarray
    last: np.ndarray
    ending: np.ndarray


def traits(randomness: Randomness, numbers: np.ndarray, settings: SimulatedSettings) -> Traits:
    """The traits of the tickers `numbers`."""
    u = np.array([randomness.generator(TRAITS, n).random(12) for n in numbers.tolist()])
    z = ndtri(u)
    late = u[:, 5] >= settings.listed_at_start
    pays = u[:, 7] < settings.dividend_payers
    return Traits(
        number=numbers,
        sector=(u[:, 0] * settings.sectors).astype(np.int64),
        beta=np.clip(1 + 0.35 * z[:, 1], 0.2, 2.2),
        sector_beta=np.clip(1 + 0.3 * z[:, 2], 0.0, 2.0),
        volatility=np.clip(0.26 * np.exp(0.35 * z[:, 3]), 0.12, 0.9),
        price=np.clip(np.exp(3.7 + 0.6 * z[:, 4]), 8.0, 120.0),
        traded=np.exp(17.0 + 1.2 * z[:, 6]),
        listed=np.where(late, (u[:, 11] * _LISTING_YEARS * YEAR).astype(np.int64) + 1, 0),
        dividend_yield=np.where(pays, 0.005 + 0.045 * u[:, 8], 0.0),
        dividend_phase=(u[:, 9] * 63).astype(np.int64),
        split_price=100 + 200 * u[:, 10],
    )


def name_returns(
    about: Traits, draws: Draws, factors: Factors, settings: SimulatedSettings
) -> Returns:
    """Returns of the tickers: market, sector, own GARCH noise, news, endings, and the plant."""
    usual = about.volatility**2 / YEAR
    own = np.sqrt(_own_variance(factors.level, usual, draws.close))
    sector = factors.sectors[:, about.sector]
    noise = own * draws.close
    drift = -(own**2) / 2
    base = about.beta * factors.market[:, None] + about.sector_beta * sector + noise + drift
    shared = (about.beta * factors.market_sigma[:, None]) ** 2
    sigma = np.sqrt(own**2 + shared + factors.level[:, None] * 0.1**2 / YEAR)
    night = NIGHT * base + np.sqrt(NIGHT * (1 - NIGHT)) * sigma * draws.night
    jump = _news(draws.news) * own
    signal = _signal(draws.signal, settings.half_life)
    planted = np.zeros_like(base)
    planted[1:] = own[1:] * signal[:-1]
    base, night = base + jump, night + jump
    ending, announced = _endings(draws.event, about.listed, settings.endings_per_year)
    last = np.full(len(usual), len(base))
    for at in np.flatnonzero(ending):
        wait, move, calm = _ENDING[int(ending[at])]
        after = slice(announced[at] + 1, None)
        for part in (base, night, planted, sigma):
            part[after, at] *= calm
        base[announced[at], at] += move
        night[announced[at], at] += move
        last[at] = min(announced[at] + wait, len(base))
    ending = np.where(last < len(base), ending, 0)
    return Returns(base, planted, night, sigma, signal, last, ending)


def _own_variance(level: np.ndarray, usual: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Variances [sessions, tickers], each known before its session."""
    path = np.empty_like(normal)
    growth = _ALPHA * normal**2 + _BETA
    variance = level[0] * usual
    pull = (1 - _ALPHA - _BETA) * level
    for at in range(len(normal)):
        path[at] = variance
        variance = pull[at] * usual + variance * growth[at]
    return path


def _signal(normal: np.ndarray, half_life: float) -> np.ndarray:
    """A stationary AR(1) of unit variance."""
    keep = 0.5 ** (1 / half_life)
    scale = np.sqrt(1 - keep * keep)
    pushed = normal * scale
    pushed[0] = normal[0]
    return lfilter([1.0], [1.0, -keep], pushed, axis=0)


def _news(uniform: np.ndarray) -> np.ndarray:
    """Jumps in units of the session's own volatility, a few a year."""
    rate = _NEWS_A_YEAR / YEAR
    jumps = np.zeros_like(uniform)
    hit = uniform < rate
    jumps[hit] = _NEWS_SIGMAS * ndtri(np.clip(uniform[hit] / rate, 1e-12, 1 - 1e-12))
    return jumps


def _endings(
    uniform: np.ndarray, listed: np.ndarray, a_year: float
) -> tuple[np.ndarray, np.ndarray]:
    """Kind and session of the announcement; kind 0 where none comes.

    The draw that decides is the session's own, so an ending is not known before it is announced.
    """
    rate = a_year / YEAR
    hit = (uniform < rate) & (np.arange(len(uniform))[:, None] > listed + 20)
    announced = hit.argmax(axis=0)
    some = hit[announced, np.arange(hit.shape[1])]
    share = uniform[announced, np.arange(hit.shape[1])] / max(rate, 1e-300)
    kind = np.where(share < _MERGERS, _MERGER, _FAILURE)
    return np.where(some, kind, 0), announced

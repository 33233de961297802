"""Returns to bars: splits, dividends, halts, open, high, low, close, volume.

The adjustment factor runs forward: 1 at the listing, multiplied at each split and dividend. So no
recorded bar knows of a later action, and recorded price × factor is the total return index.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from engine.data.simulated.draws import Draws
from engine.data.simulated.returns import NIGHT, YEAR, Returns, Traits

__all__ = ["Prices", "extremes", "ticker_prices"]

_REVERSE_BELOW, _REVERSE, _REVERSE_LAG = 3.0, 0.1, 5
_SPLIT_LAG = 20
_QUARTER = 63
_DECLARED = 20
_LONGEST_HALT = 5
_TICK = 0.01


@dataclass(frozen=True)
class Prices:
    """Bars as traded, [sessions, tickers]; `trades` says where there is a bar.

    `splits` are new shares for each old one and `dividends` money a share, both 0 where none.
    """

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    factor: np.ndarray
    trades: np.ndarray
    splits: np.ndarray
    dividends: np.ndarray


def ticker_prices(
    about: Traits, draws: Draws, returns: Returns, strength: float, halts_per_year: float
) -> Prices:
    """Bars of the tickers with the planted part at `strength`."""
    plant = strength * returns.planted
    total = returns.base + plant
    night = returns.night + NIGHT * plant
    at = np.arange(len(total))[:, None]
    total = np.where(at > about.listed, total, 0.0)
    night = np.where(at > about.listed, night, 0.0)
    level = np.cumsum(total, axis=0) + np.log(about.price)
    alive = (at >= about.listed) & (at < returns.last)
    paid = _dividend_shares(about, level, at)
    splits, factor = _splits(about, level, paid, returns.last)
    actions = (splits > 0) | (paid > 0)
    trades = alive & ~_halted(draws.event, halts_per_year, actions, at, about.listed)
    before = level - total
    day = total - night
    up, down = extremes(day, (1 - NIGHT) * returns.sigma**2, draws.high, draws.low)
    first = np.exp(before + night) / factor
    bar = [first, first * np.exp(up), first * np.exp(down), np.exp(level) / factor]
    opened, high, low, close = (np.maximum(np.rint(x / _TICK), 1.0) * _TICK for x in bar)
    volume = _volume(about, draws.volume, total, returns.sigma, level)
    volume = np.maximum(np.rint(volume / close), 100.0)
    money = np.zeros_like(paid)
    money[1:] = paid[1:] * np.exp(level[:-1]) / factor[:-1]
    return Prices(opened, high, low, close, volume, factor, trades, splits, money)


def extremes(
    day: np.ndarray, variance: np.ndarray, u_high: np.ndarray, u_low: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Log high and low relative to the open, of a Brownian path that ends at `day`.

    The maximum of a bridge from 0 to x with variance v has P(M > m) = exp(−2m(m − x)/v); high and
    low are drawn each from its own law (Beaglehole, Dybvig and Zhou, 1997).
    """
    up = (day + np.sqrt(day**2 - 2 * variance * np.log1p(-u_high))) / 2
    down = (day - np.sqrt(day**2 - 2 * variance * np.log1p(-u_low))) / 2
    return up, down


def _dividend_shares(about: Traits, level: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Dividend as a share of the last close, at its first session without it; else 0.

    The amount is declared a month before, from the price then.
    """
    age = at - about.listed - about.dividend_phase - _DECLARED
    due = (age > 0) & (age % _QUARTER == 0) & (about.dividend_yield > 0)
    shares = np.zeros_like(level)
    rows, columns = np.nonzero(due)
    move = level[rows - 1 - _DECLARED, columns] - level[rows - 1, columns]
    quarterly = about.dividend_yield[columns] / (YEAR / _QUARTER)
    shares[rows, columns] = np.minimum(quarterly * np.exp(move), 0.2)
    return shares


def _splits(
    about: Traits, level: np.ndarray, paid: np.ndarray, last: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Splits, and the factor with them and the dividends.

    A close at or above the ticker's split price is followed by a split 2:1 (3:1 from twice the
    price), one below 3 by a reverse split 1:10, each some sessions later.
    """
    kept = np.cumsum(-np.log1p(-paid), axis=0)
    price = level - kept
    log_split = np.zeros_like(level)
    for i in range(level.shape[1]):
        start, end = int(about.listed[i]), int(min(last[i], len(level)))
        high, low = np.log(about.split_price[i]), np.log(_REVERSE_BELOW)
        while start < end:
            column = price[start:end, i]
            hit = (column >= high) | (column < low)
            first = int(hit.argmax())
            if not hit[first]:
                break
            reverse = column[first] < low
            when = start + first + (_REVERSE_LAG if reverse else _SPLIT_LAG)
            if when >= end:
                break
            wide = column[first] >= high + np.log(2)
            step = np.log(_REVERSE) if reverse else np.log(3.0 if wide else 2.0)
            log_split[when, i] = step
            price[when:, i] -= step
            start = when
    splits = np.where(log_split != 0, np.exp(log_split), 0.0)
    return splits, np.exp(kept + np.cumsum(log_split, axis=0))


def _halted(
    uniform: np.ndarray, a_year: float, actions: np.ndarray, at: np.ndarray, listed: np.ndarray
) -> np.ndarray:
    """Where trading is halted: one to five sessions, never over a split or dividend."""
    rate = a_year / YEAR
    # The other end of the draw that decides on endings.
    rows, columns = np.nonzero(uniform > 1 - rate)
    halted = np.zeros_like(actions)
    length = (1 + _LONGEST_HALT * (1 - uniform[rows, columns]) / max(rate, 1e-300)).astype(int)
    for row, column, n in zip(rows.tolist(), columns.tolist(), length.tolist(), strict=True):
        halted[row : row + n, column] = True
    return halted & ~actions & (at > listed)


def _volume(
    about: Traits, normal: np.ndarray, total: np.ndarray, sigma: np.ndarray, level: np.ndarray
) -> np.ndarray:
    """Value traded: persistent noise, more on large moves, growing with the price."""
    pushed = normal * (0.35 * np.sqrt(1 - 0.7**2))
    pushed[0] = normal[0] * 0.35
    busy = lfilter([1.0], [1.0, -0.7], pushed, axis=0)
    moved = np.minimum(np.abs(total) / sigma, 12.0)
    return about.traded * np.exp(busy + 0.35 * (moved - 0.8) + 0.7 * (level - np.log(about.price)))

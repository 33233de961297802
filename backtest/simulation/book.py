"""What a list of fills makes of the capital: positions, cash and equity, session by session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..grid import PriceGrid
from .orders import OrderPlan

__all__ = ["Book", "book_from_fills", "share_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Book:
    """Daily state from the first fill on; all arrays (T,), in money unless said otherwise.

    ``previous`` is the equity before the session (the capital on the first one), ``turnover`` is
    Σ|w − w⁻|/2 at the fill, ``ruined`` the row of the grid on which equity fell to zero or below;
    from there on everything is 0.
    """

    equity: Floats
    previous: Floats
    cash: Floats
    turnover: Floats
    fees: Floats
    long_value: Floats
    short_value: Floats
    ruined: int | None

    @property
    def daily_returns(self) -> Floats:
        """Simple returns, 0 after ruin."""
        return np.divide(
            self.equity - self.previous,
            self.previous,
            out=np.zeros_like(self.equity),
            where=self.previous > 0,
        )


def book_from_fills(
    fills: NDArray[Any], orders: OrderPlan, grid: PriceGrid, *, aum: float, first: int
) -> Book:
    """Follows the fills (idx, col, size, price, fees, side; side 0 buys) from ``aum`` in cash.

    ``first`` is the grid row of the first fill. Positions are valued at the last known close.
    """
    sign = np.where(fills["side"] == 0, 1.0, -1.0)
    value = fills["size"] * fills["price"]
    close = grid.last_close[first:]
    rows, session = len(close), fills["idx"] - first

    def per_session(amounts: Floats) -> Floats:
        return np.bincount(session, amounts, minlength=rows).astype(np.float64)

    cash = aum + np.cumsum(per_session(-sign * value - fills["fees"]))
    positions = _positions(fills, sign, orders)
    held, gross = _held_value(positions, orders, close, first)
    equity = cash + held
    turnover = _turnover(per_session(value), positions, orders, cash, aum=aum, first=first)
    fees = per_session(fills["fees"])
    lost = np.flatnonzero(equity <= 0)
    ruined = int(lost[0]) if len(lost) else None
    if ruined is not None:
        for series in (equity, cash, held, gross):
            series[ruined:] = 0.0
        turnover[ruined + 1 :] = 0.0
        fees[ruined + 1 :] = 0.0
    return Book(
        equity=equity,
        previous=np.concatenate([[aum], equity[:-1]]),
        cash=cash,
        turnover=turnover,
        fees=fees,
        long_value=np.maximum(gross + held, 0.0) / 2,
        short_value=np.maximum(gross - held, 0.0) / 2,
        ruined=None if ruined is None else ruined + first,
    )


def _positions(fills: NDArray[Any], sign: Floats, orders: OrderPlan) -> Floats:
    """(K, N): shares held after the orders of each of ``orders.rows``."""
    traded = np.zeros(orders.size.shape)
    traded[np.searchsorted(orders.rows, fills["idx"]), fills["col"]] = sign * fills["size"]
    return np.cumsum(traded, axis=0, out=traded)


def _held_value(
    positions: Floats, orders: OrderPlan, close: Floats, first: int
) -> tuple[Floats, Floats]:
    """(T,): Σ shares · close and Σ |shares · close| at each session from ``first`` on."""
    held, gross = np.zeros(len(close)), np.zeros(len(close))
    bounds = np.append(orders.rows - first, len(close))
    for shares, start, end in zip(positions, bounds[:-1], bounds[1:], strict=True):
        # Only what is held: a ticker that has not traded yet has no close.
        names = np.flatnonzero(shares)
        prices, amount = close[start:end, names], shares[names]
        held[start:end] = prices @ amount
        gross[start:end] = prices @ np.abs(amount)
    return held, gross


def _turnover(
    volume: Floats, positions: Floats, orders: OrderPlan, cash: Floats, *, aum: float, first: int
) -> Floats:
    """(T,): half the traded value over what the book is worth at its fill prices before trading."""
    before = np.vstack([np.zeros((1, positions.shape[1])), positions[:-1]])
    rows = orders.rows - first
    at_open = np.zeros(len(volume))
    at_open[rows] = np.concatenate([[aum], cash[:-1]])[rows]
    at_open[rows] += np.einsum("kn,kn->k", before, orders.valuation)
    return np.where(volume > 0, share_of(volume, at_open) / 2, 0.0)


def share_of(part: Floats, whole: Floats) -> Floats:
    """part / whole, 0 where the whole is not above 0."""
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)

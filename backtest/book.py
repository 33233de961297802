"""What a list of fills makes of the capital: positions, cash and equity, session by session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def book_from_fills(fills: NDArray[Any], orders: OrderPlan, *, aum: float, first: int) -> Book:
    """Follows the fills (idx, col, size, price, fees, side; side 0 buys) from ``aum`` in cash.

    ``first`` is the grid row of the first fill. Positions are valued at ``orders.close``.
    """
    sign = np.where(fills["side"] == 0, 1.0, -1.0)
    value = fills["size"] * fills["price"]
    rows = len(orders.close)
    traded = np.zeros(orders.close.shape)
    np.add.at(traded, (fills["idx"], fills["col"]), sign * fills["size"])
    positions = np.cumsum(traded, axis=0)

    def per_session(amounts: Floats) -> Floats:
        return np.bincount(fills["idx"], amounts, minlength=rows).astype(np.float64)

    flow = per_session(-sign * value - fills["fees"])
    fees = per_session(fills["fees"])
    volume = per_session(value)

    cash = aum + np.cumsum(flow)
    held = positions * orders.close
    equity = cash + held.sum(axis=1)
    before = np.vstack([np.zeros((1, positions.shape[1])), positions[:-1]])
    # What the book is worth when its orders are sized: the open, before anything trades.
    at_open = np.concatenate([[aum], cash[:-1]]) + (before * orders.valuation).sum(axis=1)
    turnover = np.where(volume > 0, share_of(volume, at_open) / 2, 0.0)

    lost = np.flatnonzero(equity <= 0)
    ruined = int(lost[0]) if len(lost) else None
    if ruined is not None:
        equity[ruined:] = 0.0
        held[ruined:] = 0.0
        turnover[ruined + 1 :] = 0.0
        fees[ruined + 1 :] = 0.0
    previous = np.concatenate([[aum], equity[:-1]])
    return Book(
        equity=equity[first:],
        previous=previous[first:],
        turnover=turnover[first:],
        fees=fees[first:],
        long_value=np.clip(held, 0, None).sum(axis=1)[first:],
        short_value=-np.clip(held, None, 0).sum(axis=1)[first:],
        ruined=ruined,
    )


def share_of(part: Floats, whole: Floats) -> Floats:
    """part / whole, 0 where the whole is not above 0."""
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)

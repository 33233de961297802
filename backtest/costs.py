"""What a trade costs: spread, market impact, stock borrow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ADV_SESSIONS",
    "CAP_BPS",
    "Costs",
    "average_daily_value",
    "impact_bps",
    "trade_cost_bps",
]

Floats = NDArray[np.float64]

# The cost definition itself (DESIGN: "cost per trade"), not settings of a run.
ADV_SESSIONS = 20
CAP_BPS = 500.0
_IMPACT_WITHOUT_ADV_BPS = 100.0


@dataclass(frozen=True)
class Costs:
    """Cost assumptions of a run.

    Parameters
    ----------
    round_trip_bps
        Spread and commission for buying and selling again, basis points of the traded value.
    impact_coefficient
        Basis points of impact for trading one day's volume; grows with the square root of the share
        of volume traded (Almgren, Thum, Hauptmann and Li, 2005, with exponent 1/2).
    borrow_bps_per_year
        Fee on the value held short, basis points a year.
    aum
        Capital, in the currency of the prices' traded amount; sizes the impact.

    Raises
    ------
    ValueError
        Naming ``costs.<parameter>`` when one is negative or not finite, or ``aum`` is not above 0.
    """

    round_trip_bps: float
    impact_coefficient: float
    borrow_bps_per_year: float
    aum: float

    def __post_init__(self) -> None:
        for name in ("round_trip_bps", "impact_coefficient", "borrow_bps_per_year", "aum"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"costs.{name}: {value!r} must be finite and not below 0")
        if self.aum == 0:
            raise ValueError("costs.aum: 0 must be above 0")


def average_daily_value(amount: Floats, *, sessions: int = ADV_SESSIONS) -> Floats:
    """Mean traded value over the last ``sessions`` sessions up to and including each row.

    Takes amount (T, N) with NaN where there is no bar; such sessions are left out of the mean. NaN
    where the window holds no value at all.
    """
    known = ~np.isnan(amount)
    total = np.cumsum(np.where(known, amount, 0.0), axis=0)
    count = np.cumsum(known, axis=0)
    if len(amount) > sessions:
        total[sessions:] -= total[:-sessions].copy()
        count[sessions:] -= count[:-sessions].copy()
    return np.divide(total, count, out=np.full(amount.shape, np.nan), where=count > 0)


def impact_bps(traded_value: ArrayLike, adv: ArrayLike, costs: Costs) -> Floats:
    """impact_coefficient · √(traded value / ADV20), basis points; 100 where ADV is missing or 0.

    A run without impact (coefficient 0) has none anywhere, also where ADV is missing.
    """
    traded, volume = np.broadcast_arrays(
        np.asarray(traded_value, dtype=np.float64), np.asarray(adv, dtype=np.float64)
    )
    known = volume > 0
    share = np.divide(np.abs(traded), volume, out=np.zeros(volume.shape), where=known)
    if costs.impact_coefficient == 0:
        return np.zeros(volume.shape)
    return np.where(known, costs.impact_coefficient * np.sqrt(share), _IMPACT_WITHOUT_ADV_BPS)


def trade_cost_bps(traded_value: ArrayLike, adv: ArrayLike, costs: Costs) -> Floats:
    """Cost of one trade in basis points of its value: round_trip_bps/2 + impact, at most 500."""
    return np.minimum(costs.round_trip_bps / 2 + impact_bps(traded_value, adv, costs), CAP_BPS)

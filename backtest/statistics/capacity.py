"""What costs and size leave of the Top-K's excess: cost overlay, capacity curve, capacity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from backtest.costs import Costs, trade_cost_bps
from backtest.statistics.net_excess import cost_survival, excess_after_costs
from backtest.statistics.significance import mean_interval, session_spacing

__all__ = ["OVERLAY", "capacity", "capacity_curve", "cost_overlay"]

Floats = NDArray[np.float64]

# Shown beside the judged costs; no gate looks at them.
OVERLAY: Mapping[str, float] = {"low": 0.5, "base": 1.0, "high": 2.0}
_AUM = tuple(float(f"{10 ** (5 + step / 2):.3g}") for step in range(11))
_LARGEST_AUM = 1e14


def cost_overlay(
    members: pl.DataFrame, *, costs: Costs, horizon: int, sessions: Sequence[date]
) -> dict[str, dict[str, Any]]:
    """Net excess at half, all and twice the spread and impact, of one horizon's Top-K.

    Returns {"low" | "base" | "high": {round_trip_bps, impact_coefficient, net_excess_mean, ci95,
    cost_survival}}.
    """
    found = {}
    for name, multiple in OVERLAY.items():
        level = replace(
            costs,
            round_trip_bps=multiple * costs.round_trip_bps,
            impact_coefficient=multiple * costs.impact_coefficient,
        )
        frame = excess_after_costs(members, costs=level)
        spacing = session_spacing(frame["asof"], sessions)
        net = mean_interval(frame["net_excess"], horizon=horizon, spacing=spacing)
        found[name] = {
            "round_trip_bps": level.round_trip_bps,
            "impact_coefficient": level.impact_coefficient,
            "net_excess_mean": net.mean,
            "ci95": net.bounds,
            "cost_survival": cost_survival(frame),
        }
    return found


def capacity_curve(members: pl.DataFrame, *, costs: Costs) -> list[dict[str, float]]:
    """[{aum, net_excess_mean}]: mean net excess a horizon at 10⁵ to 10¹⁰ of capital."""
    book = _Book.of(members)
    if book is None:
        return []
    return [{"aum": aum, "net_excess_mean": book.net(aum, costs)} for aum in _AUM]


def capacity(members: pl.DataFrame, *, costs: Costs) -> float | None:
    """The capital at which mean net excess is 0.

    0 where even the smallest capital loses; None where no capital brings it to 0 (nothing is
    traded, no impact, or the cap of 500 bps a trade leaves something) or nothing is judged.
    """
    book = _Book.of(members)
    if book is None or book.net(_LARGEST_AUM, costs) > 0:
        return None
    if book.net(1.0, costs) <= 0:
        return 0.0
    low, high = 0.0, math.log10(_LARGEST_AUM)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if book.net(10**middle, costs) > 0 else (low, middle)
    return float(10**low)


class _Book:
    """Arrays of the trades, so that another capital is one vectorised formula."""

    def __init__(self, excess: float, share: Floats, k: Floats, adv: Floats) -> None:
        self.excess, self.share, self.k, self.adv = excess, share, k, adv

    @classmethod
    def of(cls, members: pl.DataFrame) -> _Book | None:
        keys = ["asof", "horizon"]
        means = members.group_by(keys, maintain_order=True).agg(
            excess=pl.col("label").fill_nan(None).mean()
        )
        dates = means.drop_nulls("excess")
        if not dates.height:
            return None
        entering = members.filter(~pl.col("kept")).join(
            dates, on=keys, how="semi", maintain_order="left"
        )
        k = entering["k"].to_numpy().astype(np.float64)
        return cls(
            float(dates["excess"].mean()),  # type: ignore[arg-type]
            1 / (k * dates.height),
            k,
            entering["adv"].to_numpy(),
        )

    def net(self, aum: float, costs: Costs) -> float:
        """Mean net excess at this capital."""
        bps = 2 * trade_cost_bps(aum / self.k, self.adv, costs)
        return self.excess - float(self.share @ bps) / 1e4

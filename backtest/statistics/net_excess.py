"""What is left of the Top-K's excess return after the cost of trading it.

1. ``top_members`` says who is in the Top-K of each date, who entered it, and how much trades
2. ``excess_after_costs`` takes the cost of every entry off, ``breakeven_bps`` says which cost
   would leave nothing
3. ``cost_overlay`` repeats this at other costs, ``capacity`` and ``capacity_curve`` with other
   capital
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..costs import CAP_BPS, Costs, impact_bps, trade_cost_bps
from ..grid import PriceGrid
from .churn import top_membership
from .significance import series_interval

__all__ = [
    "breakeven_bps",
    "capacity",
    "capacity_curve",
    "cost_overlay",
    "cost_survival",
    "excess_after_costs",
    "hit_rate",
    "top_members",
]

Floats = NDArray[np.float64]

# Shown beside the judged costs; no gate looks at them.
OVERLAY: Mapping[str, float] = {"low": 0.5, "base": 1.0, "high": 2.0}
_AUM = tuple(float(f"{10 ** (5 + step / 2):.3g}") for step in range(11))
_LARGEST_AUM = 1e14


def top_members(
    ranked: pl.DataFrame,
    prices: pl.DataFrame,
    judged: pl.DataFrame,
    *,
    sessions: Sequence[date],
) -> pl.DataFrame:
    """The Top-K of every judged date, who entered it, and how much of each name trades.

    A name is ``kept`` if it was in the Top-K of s, the last rebalance at or before t − h sessions:
    a position opened then has just ended. Where there is no s the whole Top-K is bought.

    Parameters
    ----------
    ranked
        :func:`backtest.statistics.churn.rank_top` of a panel with label and fold.
    prices
        date, ticker, open, close, amount; rows up to an asof give the value traded at it.
    judged
        asof, horizon of the dates to judge (those with a RankIC).
    sessions
        All sessions, ascending; they measure h.

    Returns
    -------
    pl.DataFrame
        asof, horizon, ticker, k, kept, label, fold, adv: mean value traded over 20 sessions, NaN
        where it is not known.
    """
    members = top_membership(ranked, _ended_positions(ranked, sessions)).join(
        judged, on=["asof", "horizon"], how="semi", maintain_order="left"
    )
    grid = PriceGrid.from_frame(prices, tickers=members["ticker"].unique().to_list())
    adv = grid.average_daily_value_at(members["ticker"], members["asof"])
    return members.with_columns(adv=pl.Series(adv, dtype=pl.Float64))


def excess_after_costs(members: pl.DataFrame, *, costs: Costs) -> pl.DataFrame:
    """Top-K mean label − one-way turnover of the Top-K × round-trip cost.

    Each name that enters pays a round trip at its own impact, trading aum/K of its average value.

    Parameters
    ----------
    members
        The frame of :func:`top_members`.

    Returns
    -------
    pl.DataFrame
        asof, horizon, fold, excess, turnover, cost, net_excess; all costs and returns are shares of
        the capital.
    """
    entering = ~pl.col("kept")
    return (
        members.with_columns(round_trip=_round_trip(members, costs))
        .group_by("asof", "horizon")
        .agg(
            fold=pl.col("fold").first(),
            excess=pl.col("label").fill_nan(None).mean(),
            turnover=entering.sum() / pl.col("k").first(),
            cost=pl.when(entering).then(pl.col("round_trip")).otherwise(0.0).sum()
            / pl.col("k").first(),
        )
        .with_columns(net_excess=pl.col("excess") - pl.col("cost"))
        .filter(pl.col("excess").is_not_null())
        .sort("asof", "horizon")
    )


def hit_rate(members: pl.DataFrame) -> float | None:
    """Share of the Top-K whose label is above 0: per date, then the mean over dates."""
    hits = members.filter(pl.col("label").is_finite()).group_by(
        "asof", "horizon", maintain_order=True
    )
    return hits.agg((pl.col("label") > 0).mean())["label"].mean()  # type: ignore[return-value]


def cost_survival(frame: pl.DataFrame) -> float | None:
    """Share of folds whose mean net excess is above 0; None without folds."""
    folds = frame.group_by("fold").agg(pl.col("net_excess").mean())["net_excess"].to_numpy()
    return float((folds > 0).mean()) if len(folds) else None


def breakeven_bps(members: pl.DataFrame, *, costs: Costs) -> float | None:
    """round_trip_bps at which the mean net excess would be 0, the impact as configured.

    Negative where even free trading loses. None where nothing is traded, or where something is left
    though every trade costs the cap of 500 bps.
    """
    entries = _Entries.of(members)
    return entries.breakeven(costs) if entries is not None and len(entries.k) else None


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
        net = series_interval(frame, "net_excess", horizon=horizon, sessions=sessions)
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
    entries = _Entries.of(members)
    if entries is None:
        return []
    return [{"aum": aum, "net_excess_mean": entries.net(aum, costs)} for aum in _AUM]


def capacity(members: pl.DataFrame, *, costs: Costs) -> float | None:
    """The capital at which mean net excess is 0.

    0 where even the smallest capital loses; None where no capital brings it to 0 (nothing is
    traded, no impact, or the cap of 500 bps a trade leaves something) or nothing is judged.
    """
    entries = _Entries.of(members)
    if entries is None or entries.net(_LARGEST_AUM, costs) > 0:
        return None
    if entries.net(1.0, costs) <= 0:
        return 0.0
    low, high = 0.0, math.log10(_LARGEST_AUM)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if entries.net(10**middle, costs) > 0 else (low, middle)
    return float(10**low)


@dataclass(frozen=True)
class _Entries:
    """Arrays of the trades, so that another capital is one vectorised formula."""

    excess: float
    share: Floats
    k: Floats
    adv: Floats

    @classmethod
    def of(cls, members: pl.DataFrame) -> _Entries | None:
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

    def breakeven(self, costs: Costs) -> float | None:
        """round_trip_bps at which the mean net excess is 0; None where none below the cap does it.

        What trading costs is a line that bends wherever another entry reaches the cap: from left
        to right, the first piece that reaches the excess before it ends has the answer.
        """
        impact = 2 * impact_bps(costs.aum / self.k, self.adv, costs)
        order = np.argsort(-impact, kind="stable")
        impact, share = impact[order], self.share[order]
        ends = 2 * CAP_BPS - impact
        capped = np.cumsum(share) - share
        free = np.cumsum(share[::-1])[::-1]
        at_zero = 2 * CAP_BPS * capped + np.cumsum((share * impact)[::-1])[::-1]
        bps = (self.excess * 1e4 - at_zero) / free
        reached = np.flatnonzero(bps < ends)
        return float(bps[reached[0]]) if len(reached) else None


def _ended_positions(ranked: pl.DataFrame, sessions: Sequence[date]) -> pl.DataFrame:
    """asof, horizon, previous: the last scored date at or before asof − horizon sessions."""
    calendar = np.asarray(sessions, dtype="datetime64[D]")
    dates = ranked.select("asof", "horizon").unique().sort("horizon", "asof")
    parts = []
    for (horizon,), part in dates.group_by("horizon", maintain_order=True):
        asofs = part["asof"].to_numpy().astype("datetime64[D]")
        rows = np.searchsorted(calendar, asofs)
        found = np.searchsorted(rows, rows - int(str(horizon)), side="right") - 1
        previous = np.where(found >= 0, asofs[found], np.datetime64("NaT"))
        parts.append(part.with_columns(previous=pl.Series(previous, dtype=pl.Date)))
    empty = dates.with_columns(previous=pl.lit(None, dtype=pl.Date))
    return pl.concat(parts) if parts else empty


def _round_trip(members: pl.DataFrame, costs: Costs) -> pl.Series:
    """Buying and selling one name at its own impact, as a share of its value."""
    traded = costs.aum / members["k"].to_numpy()
    cost = 2 * trade_cost_bps(traded, members["adv"].to_numpy(), costs) / 1e4
    return pl.Series(cost, dtype=pl.Float64)

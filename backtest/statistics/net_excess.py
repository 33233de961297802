"""What is left of the Top-K's excess return after the cost of trading it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from backtest.costs import Costs, average_daily_value, trade_cost_bps
from backtest.grid import PriceGrid
from backtest.statistics.churn import rank_top, top_membership

__all__ = [
    "breakeven_bps",
    "cost_survival",
    "excess_after_costs",
    "hit_rate",
    "net_excess",
    "top_members",
]


def net_excess(
    panel: pl.DataFrame,
    prices: pl.DataFrame,
    judged: pl.DataFrame,
    *,
    sessions: Sequence[date],
    costs: Costs,
    top_k: int,
) -> pl.DataFrame:
    """:func:`excess_after_costs` of :func:`top_members`."""
    members = top_members(panel, prices, judged, sessions=sessions, top_k=top_k)
    return excess_after_costs(members, costs=costs)


def top_members(
    panel: pl.DataFrame,
    prices: pl.DataFrame,
    judged: pl.DataFrame,
    *,
    sessions: Sequence[date],
    top_k: int,
    ranked: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The Top-K of every judged date, who entered it, and how much of each name trades.

    A name is ``kept`` if it was in the Top-K of s, the last rebalance at or before t − h sessions:
    a position opened then has just ended. Where there is no s the whole Top-K is bought.

    Parameters
    ----------
    panel
        asof, ticker, horizon, score, status, label, fold.
    prices
        date, ticker, open, close, amount; rows up to an asof give the value traded at it.
    judged
        asof, horizon of the dates to judge (those with a RankIC).
    sessions
        All sessions, ascending; they measure h.
    ranked
        :func:`backtest.statistics.churn.rank_top` of the panel, where it is known already.

    Returns
    -------
    pl.DataFrame
        asof, horizon, ticker, k, kept, label, fold, adv: mean value traded over 20 sessions, NaN
        where it is not known.
    """
    ranked = rank_top(panel, top_k=top_k) if ranked is None else ranked
    members = top_membership(ranked, _ended_positions(ranked, sessions)).join(
        judged, on=["asof", "horizon"], how="semi", maintain_order="left"
    )
    return members.with_columns(adv=_adv(members, prices))


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
        asof, horizon, fold, excess, turnover, cost, net_excess, spread_cost; all costs and returns
        are shares of the capital. ``spread_cost`` is the part of ``cost`` that grows with
        round_trip_bps.
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
        .with_columns(
            net_excess=pl.col("excess") - pl.col("cost"),
            spread_cost=pl.col("turnover") * costs.round_trip_bps / 1e4,
        )
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


def breakeven_bps(frame: pl.DataFrame) -> float | None:
    """round_trip_bps at which the mean net excess would be 0, the impact as configured.

    Negative where even free trading loses. None when nothing is traded. The impact part stays what
    it is at the configured costs (after the 500 bps cap), so that the answer is linear.
    """
    if not frame.height or not frame["turnover"].sum():
        return None
    excess, cost, spread, turnover = (
        frame[name].to_numpy() for name in ("excess", "cost", "spread_cost", "turnover")
    )
    return float((excess - (cost - spread)).sum() / turnover.sum() * 1e4)


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


def _adv(members: pl.DataFrame, prices: pl.DataFrame) -> pl.Series:
    """The 20-session mean value traded of each row's ticker at its asof."""
    if not members.height:
        return pl.Series([], dtype=pl.Float64)
    grid = PriceGrid.from_frame(prices, tickers=members["ticker"].unique().to_list())
    adv = average_daily_value(grid.amount)
    asof = members["asof"].to_numpy().astype("datetime64[D]")
    row = np.searchsorted(grid.sessions, asof, side="right") - 1
    column = pl.Series(grid.tickers, dtype=pl.String).search_sorted(members["ticker"]).to_numpy()
    return pl.Series(np.where(row >= 0, adv[row, column], np.nan))


def _round_trip(members: pl.DataFrame, costs: Costs) -> pl.Series:
    """Buying and selling one name at its own impact, as a share of its value."""
    traded = costs.aum / members["k"].to_numpy()
    cost = 2 * trade_cost_bps(traded, members["adv"].to_numpy(), costs) / 1e4
    return pl.Series(cost, dtype=pl.Float64)

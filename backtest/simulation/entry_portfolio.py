"""Entry trades as a portfolio: what each order costs, what a session earned, what it came to.

The capital is shared equally among a session's orders, known at the asof; what is not filled stays
in cash. Nothing is held overnight, so there is no borrow.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from ..costs import Costs, trade_cost_bps
from ..statistics.performance import annual_return, annual_volatility, max_drawdown, sharpe
from .entry import trade_bars

__all__ = ["entry_returns", "entry_summary", "with_order_costs"]


def with_order_costs(forecasts: pl.DataFrame, *, strategy: str, costs: Costs) -> pl.DataFrame:
    """Adds ``cost_bps``: entering and leaving, each as one trade of an equal share of the capital.

    Takes the columns of ``entry.trade_bars`` and ``adv``, ADV20 at the asof (null: unknown). Which
    rows are orders is the forecast's side, whether or not they are filled.
    """
    rows = forecasts.sort("asof", "ticker")
    sides = rows.select(
        "asof", side=trade_bars(rows, strategy=strategy, round_trip_bps=0.0)["side"]
    )
    orders = sides.select((pl.col("side") != 0).sum().over("asof"))["side"].to_numpy()
    value = costs.aum / np.maximum(orders, 1)
    adv = rows["adv"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return rows.with_columns(cost_bps=pl.Series(2 * trade_cost_bps(value, adv, costs)))


def entry_returns(
    trades: pl.DataFrame, sessions: Sequence[date], *, net: str = "net"
) -> pl.DataFrame:
    """date, gross, net: one row a session after the first asof, up to that after the last.

    Takes asof, ticker, side, gross and the column ``net``; a session's return is the mean over its
    orders (side not 0), 0 without any.
    """
    schema = {"date": pl.Date, "gross": pl.Float64, "net": pl.Float64}
    asofs = trades["asof"].unique().sort()
    if asofs.is_empty():
        return pl.DataFrame(schema=schema)
    days = sorted(sessions)
    following = dict(itertools.pairwise(days))
    earned = (
        trades.filter(pl.col("side") != 0)
        .group_by("asof")
        .agg(pl.col("gross").mean(), net=pl.col(net).mean())
        .with_columns(date=pl.col("asof").replace_strict(following, default=None))
        .drop_nulls("date")
        .select("date", "gross", "net")
    )
    held = [day for day in days if asofs[0] < day <= following.get(asofs[-1], asofs[-1])]
    frame = pl.DataFrame({"date": held}, schema={"date": pl.Date})
    return frame.join(earned, on="date", how="left").with_columns(
        pl.col("gross", "net").fill_null(0.0)
    )


def entry_summary(
    trades: pl.DataFrame, returns: pl.DataFrame, *, periods_per_year: int
) -> dict[str, Any]:
    """Counts of orders and fills, mean return of a fill in basis points, figures of the returns."""
    orders = trades.filter(pl.col("side") != 0)
    filled = orders.filter(pl.col("entry").is_not_null())
    gross, net = returns["gross"].to_numpy(), returns["net"].to_numpy()
    year: dict[str, int] = {"periods_per_year": periods_per_year}
    return {
        "first_date": returns["date"].min(),
        "last_date": returns["date"].max(),
        "n_sessions": returns.height,
        "n_orders": orders.height,
        "n_filled": filled.height,
        "positive_share": (filled["net"] > 0).mean(),
        "fill_gross_bps": _bps(filled["gross"]),
        "fill_net_bps": _bps(filled["net"]),
        "return_annual_gross": annual_return(gross, **year),
        "return_annual_net": annual_return(net, **year),
        "volatility_annual": annual_volatility(net, **year),
        "sharpe_gross": sharpe(gross, **year),
        "sharpe_net": sharpe(net, **year),
        "max_drawdown": max_drawdown(net),
    }


def _bps(values: pl.Series) -> float | None:
    mean = values.mean()
    return 1e4 * mean if isinstance(mean, float) else None

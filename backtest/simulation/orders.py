"""Target weights to orders: when each is filled, at which price, at which cost.

1. ``plan_rebalances`` puts each decision on the first session after it and squares the weights
2. ``delisting_exits`` finds names that stopped trading
3. ``drifted_weights`` follows the book between rebalances, for the size of each trade
4. ``plan_orders`` lays everything out as (sessions × tickers) arrays for the simulator, and
   ``order_fees`` says what each order costs
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..costs import Costs, trade_cost_bps
from ..grid import PriceGrid

__all__ = [
    "OrderPlan",
    "Rebalances",
    "delisting_exits",
    "drifted_weights",
    "order_fees",
    "plan_orders",
    "plan_rebalances",
]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Rebalances:
    """R decisions: ``decided`` and ``filled`` are rows of the grid, ``targets`` is (R, N)."""

    decided: Rows
    filled: Rows
    targets: Floats


@dataclass(frozen=True)
class OrderPlan:
    """Orders on the K sessions that have any; arrays (K, N) unless said otherwise.

    Attributes
    ----------
    rows
        (K,) rows of the grid, ascending.
    size
        Target weight; 0 (and no price) where a session has orders, but not for that name.
    price
        Fill price; NaN where there is no order or no open.
    valuation
        Price at which the book is valued when its orders are sized.
    lots
        True where an order is bound to whole lots, False where it sells all there is.
    traded
        Share of the equity that an order is expected to trade, which sizes its impact.
    adv
        ADV20 known when the order was decided, in money.
    exits, missed
        (row of the grid, column) of delistings, and of orders that have no open to fill them.
    """

    rows: Rows
    size: Floats
    price: Floats
    valuation: Floats
    lots: NDArray[np.bool_]
    traded: Floats
    adv: Floats
    exits: list[tuple[int, int]]
    missed: list[tuple[int, int]]


def plan_rebalances(weights: pl.DataFrame, grid: PriceGrid) -> Rebalances:
    """Squares asof, ticker, weight onto the grid.

    A decision at the close of a session is filled on the next session of the grid; decisions whose
    fill lies beyond the last session are dropped. A name without a row on a decision date has
    target 0. Where two decisions share a fill session the later one counts.
    """
    asofs = weights["asof"].unique().sort()
    dates = asofs.to_numpy().astype("datetime64[D]")
    filled = np.searchsorted(grid.sessions, dates, side="right")
    targets = np.zeros((len(dates), len(grid.tickers)))
    column = pl.Series(grid.tickers, dtype=pl.String).search_sorted(weights["ticker"]).to_numpy()
    targets[asofs.search_sorted(weights["asof"]).to_numpy(), column] = weights["weight"].to_numpy()
    last_of_fill = np.append(filled[1:] != filled[:-1], True) if len(filled) else filled == 0
    keep = last_of_fill & (filled < len(grid.sessions)) & (filled > 0)
    return Rebalances(decided=filled[keep] - 1, filled=filled[keep], targets=targets[keep])


def delisting_exits(close: Floats, *, after: int) -> list[tuple[int, int]]:
    """(row, column) where a ticker has had no bar for exactly ``after`` sessions since its last.

    Known at that row from the past alone: whether the ticker will trade again is not asked.
    """
    rows = np.arange(len(close))[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(close), -1, rows), axis=0)
    hit = (last >= 0) & (rows - last == after)
    return [(int(row), int(column)) for row, column in np.argwhere(hit)]


def drifted_weights(
    plan: Rebalances, open_: Floats, valued: Floats, exits: list[tuple[int, int]]
) -> tuple[Floats, Floats]:
    """Weights of the book just before its orders: (R, N) at each decision close, (E,) at each exit.

    ``open_`` is NaN where there was no trading; ``valued`` is the forward-filled close. Shares are
    bought at the open, so that between rebalances a weight follows its price. Costs are left out:
    sizing impact needs no more precision, and the simulation trades on its own books.
    """
    valued = np.nan_to_num(valued)
    shares = np.zeros(open_.shape[1])
    cash = 1.0
    drifted = np.zeros(plan.targets.shape)
    exit_weights = np.zeros(len(exits))
    waiting = list(enumerate(exits))

    def leave(before: float) -> None:
        nonlocal cash
        while waiting and waiting[0][1][0] < before:
            index, (row, column) = waiting.pop(0)
            value = shares[column] * valued[row, column]
            equity = cash + shares @ valued[row]
            exit_weights[index] = value / equity if equity > 0 else 0.0
            cash += value
            shares[column] = 0.0

    for index, (decided, filled) in enumerate(zip(plan.decided, plan.filled, strict=True)):
        leave(filled)
        close = valued[decided]
        equity = cash + shares @ close
        if equity <= 0:
            break
        drifted[index] = shares * close / equity
        tradable = ~np.isnan(open_[filled])
        price = np.where(tradable, open_[filled], close)
        equity = cash + shares @ price
        wanted = np.divide(
            plan.targets[index] * equity, price, out=np.zeros_like(price), where=price > 0
        )
        wanted = np.where(tradable, wanted, shares)
        cash -= (wanted - shares) @ price
        shares[:] = wanted
    leave(np.inf)
    return drifted, exit_weights


def plan_orders(plan: Rebalances, grid: PriceGrid, *, delisted_after: int) -> OrderPlan:
    """Orders of the rebalances and of delistings.

    A session with any order carries a size for every name, because the simulator sorts the orders
    of a session and NaN has no order.
    """
    close = grid.last_close
    exits = delisting_exits(grid.close, after=delisted_after)
    exits = [(row, column) for row, column in exits if row > plan.filled[0]]
    drifted, exit_weights = drifted_weights(plan, grid.open, close, exits)
    rows = np.unique(np.concatenate([plan.filled, np.array([row for row, _ in exits], np.intp)]))
    rebalanced = np.searchsorted(rows, plan.filled)
    shape = (len(rows), close.shape[1])
    size, price = np.zeros(shape), np.full(shape, np.nan)
    traded, adv = np.zeros(shape), np.full(shape, np.nan)
    size[rebalanced] = plan.targets
    price[rebalanced] = grid.open[plan.filled]
    traded[rebalanced] = np.abs(plan.targets - drifted)
    adv[rebalanced] = grid.average_daily_value[plan.decided]
    opened = grid.open[rows]
    # The book is valued at the open; a name without one at its last close before the session.
    valuation = np.where(np.isnan(opened), close[np.maximum(rows - 1, 0)], opened)
    lots = np.ones(shape, dtype=np.bool_)
    for (row, column), weight in zip(exits, exit_weights, strict=True):
        at = int(np.searchsorted(rows, row))
        size[at, column] = 0.0
        price[at, column] = valuation[at, column] = close[row, column]
        traded[at, column] = weight
        adv[at, column] = grid.average_daily_value[row, column]
        lots[at, column] = False
    unfilled = [
        (int(plan.filled[index]), int(column))
        for index, column in np.argwhere(
            np.isnan(grid.open[plan.filled]) & (plan.targets != drifted)
        )
    ]
    return OrderPlan(
        rows=rows,
        size=size,
        price=price,
        # A ticker that has not traded yet is never held: any finite price keeps sums free of NaN.
        valuation=np.nan_to_num(valuation, nan=1.0),
        lots=lots,
        traded=traded,
        adv=adv,
        exits=exits,
        missed=unfilled,
    )


def order_fees(orders: OrderPlan, costs: Costs) -> Floats:
    """(K, N): cost of each order as a share of its value, at the impact of ``costs.aum``."""
    return trade_cost_bps(costs.aum * orders.traded, orders.adv, costs) / 1e4

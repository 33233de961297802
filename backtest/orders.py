"""Target weights to orders: when each is filled, at which price, at which cost.

1. ``plan_rebalances`` puts each decision on the first session after it and squares the weights
2. ``delisting_exits`` finds names that stopped trading
3. ``drifted_weights`` follows the book between rebalances, for the size of each trade
4. ``plan_orders`` lays everything out as (sessions × tickers) arrays for the simulator
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .costs import Costs, average_daily_value, trade_cost_bps
from .grid import PriceGrid, forward_fill

__all__ = [
    "OrderPlan",
    "Rebalances",
    "delisting_exits",
    "drifted_weights",
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
    """Orders on a grid, all arrays (T, N).

    ``size`` is the target weight on sessions with orders and NaN on the others; ``price`` is the
    fill price, NaN where there is no order or no open; ``fees`` are shares of the traded value;
    ``valuation`` is the price at which the book is valued when its orders are sized. ``lots`` is 1
    where an order may be bound to whole lots, 0 where it sells all there is.
    """

    size: Floats
    price: Floats
    fees: Floats
    valuation: Floats
    close: Floats
    lots: Floats
    exits: list[tuple[int, int]]
    missed: list[tuple[int, int]]

    def without_fees(self) -> OrderPlan:
        """The same orders at no cost."""
        return replace(self, fees=np.zeros_like(self.fees))


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
            equity = cash + shares @ np.nan_to_num(valued[row])
            exit_weights[index] = value / equity if equity > 0 else 0.0
            cash += value
            shares[column] = 0.0

    for index, (decided, filled) in enumerate(zip(plan.decided, plan.filled, strict=True)):
        leave(filled)
        close = np.nan_to_num(valued[decided])
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


def plan_orders(
    plan: Rebalances, grid: PriceGrid, *, costs: Costs, delisted_after: int
) -> OrderPlan:
    """Orders of the rebalances and of delistings, with the fee of each.

    A session with any order carries a size for every name (0 and no price where nothing is
    ordered), because the simulator sorts the orders of a session and NaN has no order.
    """
    close = forward_fill(grid.close)
    exits = delisting_exits(grid.close, after=delisted_after)
    adv = average_daily_value(grid.amount)
    drifted, exit_weights = drifted_weights(plan, grid.open, close, exits)
    traded = costs.aum * np.abs(plan.targets - drifted)

    shape = close.shape
    size = np.full(shape, np.nan)
    price = np.full(shape, np.nan)
    fees = np.zeros(shape)
    size[plan.filled] = plan.targets
    price[plan.filled] = grid.open[plan.filled]
    fees[plan.filled] = trade_cost_bps(traded, adv[plan.decided], costs) / 1e4
    rebalanced = set(plan.filled.tolist())
    for (row, column), weight in zip(exits, exit_weights, strict=True):
        if row not in rebalanced:
            size[row] = np.nan_to_num(size[row])
        size[row, column] = 0.0
        price[row, column] = close[row, column]
        leaving = trade_cost_bps(costs.aum * weight, adv[row, column], costs)
        fees[row, column] = float(leaving) / 1e4
    before = np.vstack([np.full((1, shape[1]), np.nan), close[:-1]]) if shape[0] else close
    valuation = np.where(np.isnan(grid.open), before, grid.open)
    lots = np.ones(shape)
    for row, column in exits:
        valuation[row, column] = close[row, column]
        lots[row, column] = 0.0
    unfilled = [
        (int(plan.filled[index]), int(column))
        for index, column in np.argwhere(
            np.isnan(grid.open[plan.filled]) & (plan.targets != drifted)
        )
    ]
    # A ticker that has not traded yet is never held: any finite price keeps sums free of NaN.
    return OrderPlan(
        size=size,
        price=price,
        fees=fees,
        valuation=np.nan_to_num(valuation, nan=1.0),
        close=np.nan_to_num(close, nan=1.0),
        lots=lots,
        exits=exits,
        missed=unfilled,
    )

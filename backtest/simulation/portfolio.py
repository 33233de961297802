"""Portfolio simulation: decided at a close, filled at the next session's open.

1. ``PriceGrid`` squares the prices, ``plan_rebalances`` and ``plan_orders`` the weights,
   ``order_fees`` the costs
2. ``_fill_orders`` runs the orders of many portfolios through vectorbt in one call, on the sessions
   that have orders; once with fees, and once a book without
3. ``book_from_fills`` turns the fills into positions, cash and equity
4. ``portfolio_result`` takes borrow off the net returns and sums up

The only module that imports vectorbt, inside the function that needs it: the import takes seconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..costs import Costs
from ..grid import PriceGrid
from .book import Book, PortfolioResult, book_from_fills, empty_result, portfolio_result
from .orders import OrderPlan, order_fees, plan_orders, plan_rebalances

__all__ = ["Case", "PortfolioResult", "simulate", "simulate_cases"]

Floats = NDArray[np.float64]

# Trades below this share of the capital are rounding, not decisions.
_SMALLEST_TRADE = 1e-9
# Arrays of (order sessions × tickers) float64 that one case needs at the same time.
_ARRAYS_A_CASE = 36


@dataclass(frozen=True)
class Case:
    """One combination to simulate: target weights and what trading them costs."""

    weights: pl.DataFrame
    costs: Costs


def simulate(
    weights: pl.DataFrame,
    prices: pl.DataFrame,
    *,
    costs: Costs,
    until: date | None = None,
    periods_per_year: int = 252,
    delisted_after: int = 10,
    lot_size: float = 0.0,
) -> PortfolioResult:
    """Simulates target weights at next-open prices.

    Orders of a decision date are filled at the open of the next session on which any ticker of
    ``prices`` has a bar; sells go before buys, cash is shared, and buys stop when cash is used up.
    Positions are valued at the last known close. Fees are the cost per trade at the impact of
    ``aum`` · |target − drifted weight|; borrow accrues each session on the short value at its close
    and is charged against that session's return. Gross returns are the same orders without fees and
    borrow. Positions still held at the end are not sold. A book that is worth nothing at an open
    fills no order there; one that is worth nothing at a close is ruined: it is closed for good.

    Parameters
    ----------
    weights
        asof, ticker, weight: rows at rebalance dates only. A name absent on a date has target 0.
    prices
        date, ticker, open, close (adjusted), amount (money traded that day).
    costs
        Cost assumptions and capital.
    until
        Last session simulated, inclusive; no later price is read. None: the last in ``prices``.
    periods_per_year
        252, or 365 where every day is a session.
    delisted_after
        Sessions without a bar after which a held name leaves at its last price. Counted forward
        from the last bar, so that no later bar is needed to know it.
    lot_size
        Trades are whole multiples of it, rounded towards zero, in shares as adjusted; 0: any size.
        A position smaller than a lot cannot be sold but by delisting, which sells it all.

    Raises
    ------
    ValueError
        Naming the row, for repeated bars, prices not above zero or weights that are not finite.
    """
    return simulate_cases(
        [Case(weights, costs)],
        prices,
        until=until,
        periods_per_year=periods_per_year,
        delisted_after=delisted_after,
        lot_size=lot_size,
    )[0]


def simulate_cases(
    cases: Sequence[Case],
    prices: pl.DataFrame,
    *,
    until: date | None = None,
    periods_per_year: int = 252,
    delisted_after: int = 10,
    lot_size: float = 0.0,
    memory_gb: float = 1.0,
    keep_trades: bool = True,
) -> list[PortfolioResult]:
    """:func:`simulate` for many combinations of weights and costs, in the order given.

    Cases with the very same weights frame (the object) share their plan and their gross book, so a
    grid of costs costs one simulation each; cases of the same names share their prices. As many
    cases go through the simulator in one call as ``memory_gb`` allows. Without ``keep_trades`` the
    results' trades are empty: of a large grid they take far more memory than anything else.
    """
    if lot_size < 0:
        raise ValueError(f"lot_size: {lot_size!r} must not be below 0")
    if delisted_after < 1:
        raise ValueError(f"delisted_after: {delisted_after!r} must be at least 1 session")
    options = _Options(periods_per_year, delisted_after, lot_size, memory_gb, keep_trades)
    found: dict[int, PortfolioResult] = {}
    for names, books in _books(cases, until).items():
        if not names:
            found |= {index: empty_result() for book in books for index in book.cases}
            continue
        grid = PriceGrid.from_frame(prices, tickers=names, until=until)
        found |= _simulate_books(books, grid, cases, options)
    return [found[index] for index in range(len(cases))]


@dataclass(frozen=True)
class _Options:
    periods_per_year: int
    delisted_after: int
    lot_size: float
    memory_gb: float
    keep_trades: bool


@dataclass(frozen=True)
class _TargetBook:
    """Weights and the numbers of the cases that trade them."""

    weights: pl.DataFrame
    cases: list[int]


@dataclass(frozen=True)
class _Run:
    """One portfolio on its way through the simulator; no costs and no case for a gross book."""

    book: int
    orders: OrderPlan
    costs: Costs | None
    aum: float
    case: int | None


def _books(cases: Sequence[Case], until: date | None) -> dict[tuple[str, ...], list[_TargetBook]]:
    """Distinct weights by the names they hold; a decision at ``until`` is filled after it."""
    groups: dict[int, list[int]] = {}
    for index, case in enumerate(cases):
        groups.setdefault(id(case.weights), []).append(index)
    books: dict[tuple[str, ...], list[_TargetBook]] = {}
    for members in groups.values():
        weights = cases[members[0]].weights
        _check_weights(weights)
        if until is not None:
            weights = weights.filter(pl.col("asof") < until)
        names = tuple(weights["ticker"].unique().sort())
        books.setdefault(names, []).append(_TargetBook(weights, members))
    return books


def _simulate_books(
    books: Sequence[_TargetBook], grid: PriceGrid, cases: Sequence[Case], options: _Options
) -> dict[int, PortfolioResult]:
    """A result for each case of the books, by its number."""
    found: dict[int, PortfolioResult] = {}
    gross: dict[tuple[int, float], Book] = {}
    waiting: list[_Run] = []
    room = options.memory_gb * 1e9

    def work() -> None:
        for run, fills in zip(waiting, _fill_orders(waiting, options.lot_size), strict=True):
            book = book_from_fills(fills, run.orders, grid, aum=run.aum)
            if run.case is None:
                gross[run.book, run.aum] = book
                continue
            found[run.case] = portfolio_result(
                grid,
                run.orders,
                fills,
                costs=cases[run.case].costs,
                net_book=book,
                gross_book=gross[run.book, run.aum],
                periods_per_year=options.periods_per_year,
                keep_trades=options.keep_trades,
            )
        waiting.clear()

    for number, target in enumerate(books):
        plan = plan_rebalances(target.weights, grid)
        if not len(plan.filled):
            found |= {index: empty_result() for index in target.cases}
            continue
        orders = plan_orders(plan, grid, delisted_after=options.delisted_after)
        needed = orders.size.nbytes * _ARRAYS_A_CASE
        # The gross book depends on costs through the capital alone (smallest trade, lots).
        capitals = sorted({cases[index].costs.aum for index in target.cases})
        runs = [_Run(number, orders, None, capital, None) for capital in capitals]
        runs += [_Run(number, orders, cases[i].costs, cases[i].costs.aum, i) for i in target.cases]
        for run in runs:
            waiting.append(run)
            if sum(other.orders.size.nbytes for other in waiting) * _ARRAYS_A_CASE + needed > room:
                work()
    work()
    return found


def _fill_orders(runs: Sequence[_Run], lot_size: float) -> list[NDArray[Any]]:
    """Fills of each portfolio as records (idx, col, size, price, fees, side), side 0 a buy.

    Only sessions with an order go to the simulator: an order is sized by the prices of its own
    session and by what the fills before it left, and ``book_from_fills`` knows the days between.
    """
    if not runs:
        return []
    import pandas as pd
    import vectorbt as vbt

    names = runs[0].orders.size.shape[1]
    rows = np.unique(np.concatenate([run.orders.rows for run in runs]))
    shape = (len(rows), len(runs) * names)
    places = [np.searchsorted(rows, run.orders.rows) for run in runs]

    def side_by_side(values: Sequence[Floats | None], empty: float) -> Floats:
        out = np.full(shape, empty)
        for number, (place, value) in enumerate(zip(places, values, strict=True)):
            if value is not None:
                out[place, number * names : (number + 1) * names] = value
        return out

    plans = [run.orders for run in runs]
    aum = np.array([run.aum for run in runs], dtype=np.float64)
    valuation = side_by_side([plan.valuation for plan in plans], 1.0)
    lots: float | Floats = np.nan
    if lot_size:
        lots = side_by_side([np.where(plan.lots, lot_size, np.nan) for plan in plans], np.nan)
    portfolio = vbt.Portfolio.from_orders(
        # Only the fills are read, so what positions are worth between them does not matter here.
        pd.DataFrame(valuation, copy=False),
        size=side_by_side([plan.size for plan in plans], np.nan),
        size_type="targetpercent",
        price=side_by_side([plan.price for plan in plans], np.nan),
        # The book is valued at the fill prices, so that targets are shares of what it is worth then
        val_price=valuation,
        fees=side_by_side([_fees(run) for run in runs], 0.0),
        min_size=_SMALLEST_TRADE * np.repeat(aum, names) / valuation,
        size_granularity=lots,
        init_cash=aum,
        cash_sharing=True,
        group_by=np.repeat(np.arange(len(runs)), names),
        call_seq="auto",
        max_orders=max(1, sum(int(np.isfinite(plan.price).sum()) for plan in plans)),
        freq="1D",
    )
    records = portfolio.order_records
    records = records[np.argsort(records["col"] // names, kind="stable")]
    owner = records["col"] // names
    records["col"] %= names
    records["idx"] = rows[records["idx"]]
    bounds = np.searchsorted(owner, np.arange(len(runs) + 1))
    return [records[start:end] for start, end in itertools.pairwise(bounds)]


def _fees(run: _Run) -> Floats | None:
    return None if run.costs is None else order_fees(run.orders, run.costs)


def _check_weights(weights: pl.DataFrame) -> None:
    bad = weights.filter(pl.col("weight").is_null() | ~pl.col("weight").is_finite())
    if bad.height:
        row = bad.row(0, named=True)
        raise ValueError(
            f"weights: {row['ticker']} on {row['asof']} is {row['weight']}; weights must be finite"
        )

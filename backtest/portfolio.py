"""Portfolio simulation: decided at a close, filled at the next session's open.

1. ``PriceGrid`` squares the prices, ``plan_rebalances`` and ``plan_orders`` the weights and fees
2. ``_fill_orders`` runs the orders of many portfolios through vectorbt in one call, on the sessions
   that have orders; once with fees, and once a book without
3. ``book_from_fills`` turns the fills into positions, cash and equity
4. ``simulate`` takes borrow off the net returns and sums up; ``simulate_cases`` does so for many
   combinations of weights and costs, as many at a time as memory allows

The only module that imports vectorbt, inside the function that needs it: the import takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .book import Book, book_from_fills, share_of
from .costs import Costs
from .grid import PriceGrid
from .orders import OrderPlan, Rebalances, plan_orders, plan_rebalances
from .performance import annual_return, annual_volatility, max_drawdown, sharpe, total_return

__all__ = ["Case", "PortfolioResult", "simulate", "simulate_cases"]

Floats = NDArray[np.float64]

# Trades below this share of the capital are rounding, not decisions.
_SMALLEST_TRADE = 1e-9
# Arrays of (sessions × tickers) float64 that one case needs at the same time.
_ARRAYS_A_CASE = 14

_RETURNS = {
    "date": pl.Date,
    "gross": pl.Float64,
    "net": pl.Float64,
    "turnover": pl.Float64,
    "long_exposure": pl.Float64,
    "short_exposure": pl.Float64,
}
_TRADES = {
    "date": pl.Date,
    "ticker": pl.String,
    "side": pl.String,
    "shares": pl.Float64,
    "price": pl.Float64,
    "value": pl.Float64,
    "cost": pl.Float64,
}
_FLAGS = {"date": pl.Date, "ticker": pl.String, "flag": pl.String}


@dataclass(frozen=True)
class PortfolioResult:
    """A simulated portfolio.

    Attributes
    ----------
    returns
        date, gross, net, turnover, long_exposure, short_exposure; one row a session from the first
        fill on. Returns are simple daily returns; exposures are shares of equity at the close, both
        above 0; turnover is Σ|w − w⁻|/2 at the fill.
    trades
        date, ticker, side (buy|sell), shares, price, value, cost (money), sorted by (date, ticker).
    flags
        date, ticker, flag: ``no_open`` (an order without an open to fill it; it lapses and the
        position is kept), ``delisted`` (left at its last price), ``ruined`` (ticker null: equity at
        or below zero; nothing is traded or earned afterwards).
    stats
        Summary figures, None where one cannot be computed.
    """

    returns: pl.DataFrame
    trades: pl.DataFrame
    flags: pl.DataFrame
    stats: dict[str, Any]


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
    borrow. Positions still held at the end are not sold.

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
) -> list[PortfolioResult]:
    """:func:`simulate` for many combinations of weights and costs, in the order given.

    Cases with the very same weights frame (the object) share their plan and their gross book, so a
    grid of costs costs one simulation each. ``memory_gb`` bounds the arrays of the combinations
    simulated in one call.
    """
    if lot_size < 0:
        raise ValueError(f"lot_size: {lot_size!r} must not be below 0")
    results: list[PortfolioResult | None] = [None] * len(cases)
    for members in _same_weights(cases):
        weights = cases[members[0]].weights
        _check_weights(weights)
        if until is not None:
            weights = weights.filter(pl.col("asof") < until)
        names = weights["ticker"].unique().to_list()
        grid = PriceGrid.from_frame(prices, tickers=names, until=until)
        plan = plan_rebalances(weights, grid)
        if not len(plan.filled):
            for index in members:
                results[index] = _empty()
            continue
        costs = [cases[index].costs for index in members]
        found = _simulate_plan(
            plan, grid, costs, periods_per_year, delisted_after, lot_size, memory_gb
        )
        for index, result in zip(members, found, strict=True):
            results[index] = result
    return [result for result in results if result is not None]


def _same_weights(cases: Sequence[Case]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for index, case in enumerate(cases):
        groups.setdefault(id(case.weights), []).append(index)
    return list(groups.values())


def _simulate_plan(
    plan: Rebalances,
    grid: PriceGrid,
    costs: Sequence[Costs],
    periods_per_year: int,
    delisted_after: int,
    lot_size: float,
    memory_gb: float,
) -> Iterator[PortfolioResult]:
    """A result for each of the costs on one plan, as many in a call as fit into memory."""
    first = int(plan.filled[0])
    size = max(1, int(memory_gb * 1e9 / (grid.close.size * 8 * _ARRAYS_A_CASE)))
    gross_books: dict[float, Book] = {}
    for start in range(0, len(costs), size):
        chunk = costs[start : start + size]
        orders = [plan_orders(plan, grid, costs=c, delisted_after=delisted_after) for c in chunk]
        # The gross book depends on costs through the capital alone (smallest trade, lots).
        capitals = sorted({c.aum for c in chunk} - set(gross_books))
        free = [orders[0].without_fees()] * len(capitals)
        fills = _fill_orders(
            [*orders, *free], aum=[*(c.aum for c in chunk), *capitals], lot_size=lot_size
        )
        for capital, found in zip(capitals, fills[len(chunk) :], strict=True):
            gross_books[capital] = book_from_fills(found, orders[0], aum=capital, first=first)
        for c, order, found in zip(chunk, orders, fills, strict=False):
            net_book = book_from_fills(found, order, aum=c.aum, first=first)
            yield _result(
                grid, order, found, c, net_book, gross_books[c.aum], first, periods_per_year
            )


def _result(
    grid: PriceGrid,
    orders: OrderPlan,
    fills: NDArray[Any],
    costs: Costs,
    net_book: Book,
    gross_book: Book,
    first: int,
    periods_per_year: int,
) -> PortfolioResult:
    borrow_rate = costs.borrow_bps_per_year / 1e4 / periods_per_year
    borrow = borrow_rate * share_of(net_book.short_value, net_book.previous)
    returns = pl.DataFrame(
        {
            "date": grid.sessions[first:],
            "gross": gross_book.daily_returns,
            "net": net_book.daily_returns - borrow,
            "turnover": net_book.turnover,
            "long_exposure": share_of(net_book.long_value, net_book.equity),
            "short_exposure": share_of(net_book.short_value, net_book.equity),
        },
        schema_overrides=_RETURNS,
    )
    trades = _trades(fills, grid)
    return PortfolioResult(
        returns=returns,
        trades=trades,
        flags=_flags(orders, grid, trades, net_book, first=first),
        stats=_stats(
            returns,
            n_trades=trades.height,
            cost=share_of(net_book.fees, net_book.previous),
            borrow=borrow,
            periods_per_year=periods_per_year,
        ),
    )


def _fill_orders(
    plans: Sequence[OrderPlan], *, aum: Sequence[float], lot_size: float
) -> list[NDArray[Any]]:
    """Fills of each portfolio as records (idx, col, size, price, fees, side), side 0 a buy.

    Only sessions with an order go to the simulator: an order is sized by the prices of its own
    session and by what the fills before it left, and ``book_from_fills`` knows the days between.
    """
    import pandas as pd
    import vectorbt as vbt

    names = plans[0].close.shape[1]
    rows = np.flatnonzero(np.any([np.isfinite(plan.size).any(axis=1) for plan in plans], axis=0))

    def side_by_side(name: str) -> Floats:
        return np.concatenate([getattr(plan, name)[rows] for plan in plans], axis=1)

    price, valuation = side_by_side("price"), side_by_side("valuation")
    capital = np.repeat(np.asarray(aum, dtype=np.float64), names)
    lots = side_by_side("lots") * lot_size
    portfolio = vbt.Portfolio.from_orders(
        pd.DataFrame(side_by_side("close")),
        size=side_by_side("size"),
        size_type="targetpercent",
        price=price,
        # The book is valued at the fill prices, so that targets are shares of what it is worth then
        val_price=valuation,
        fees=side_by_side("fees"),
        min_size=_SMALLEST_TRADE * capital / valuation,
        size_granularity=np.where(lots > 0, lots, np.nan),
        init_cash=np.asarray(aum, dtype=np.float64),
        cash_sharing=True,
        group_by=np.repeat(np.arange(len(plans)), names),
        call_seq="auto",
        max_orders=max(1, int(np.isfinite(price).sum())),
        freq="1D",
    )
    records = np.array(portfolio.order_records)
    owner, records["col"] = records["col"] // names, records["col"] % names
    records["idx"] = rows[records["idx"]]
    return [records[owner == index] for index in range(len(plans))]


def _trades(fills: NDArray[Any], grid: PriceGrid) -> pl.DataFrame:
    tickers = np.array(grid.tickers, dtype=object)
    return pl.DataFrame(
        {
            "date": grid.sessions[fills["idx"]],
            "ticker": tickers[fills["col"]].tolist(),
            "side": np.where(fills["side"] == 0, "buy", "sell").tolist(),
            "shares": fills["size"],
            "price": fills["price"],
            "value": fills["size"] * fills["price"],
            "cost": fills["fees"],
        },
        schema_overrides=_TRADES,
    ).sort("date", "ticker")


def _flags(
    orders: OrderPlan, grid: PriceGrid, trades: pl.DataFrame, book: Book, *, first: int
) -> pl.DataFrame:
    def rows(cells: list[tuple[int, int]], flag: str) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "date": grid.sessions[[row for row, _ in cells]],
                "ticker": [grid.tickers[column] for _, column in cells],
                "flag": [flag] * len(cells),
            },
            schema_overrides=_FLAGS,
        )

    left = rows(orders.exits, "delisted").join(trades, on=["date", "ticker"], how="semi")
    found = [rows(orders.missed, "no_open"), left]
    if book.ruined is not None:
        day = grid.sessions[book.ruined].item()
        found.append(
            pl.DataFrame({"date": [day], "ticker": [None], "flag": ["ruined"]}, schema=_FLAGS)
        )
    return pl.concat(found).sort("date", "flag", "ticker")


def _stats(
    returns: pl.DataFrame, *, n_trades: int, cost: Floats, borrow: Floats, periods_per_year: int
) -> dict[str, Any]:
    gross, net = returns["gross"].to_numpy(), returns["net"].to_numpy()
    years = len(net) / periods_per_year
    exposure = returns.select(
        gross=(pl.col("long_exposure") + pl.col("short_exposure")).mean(),
        net=(pl.col("long_exposure") - pl.col("short_exposure")).mean(),
    ).row(0, named=True)
    return {
        "first_date": returns["date"][0].isoformat(),
        "last_date": returns["date"][-1].isoformat(),
        "n_sessions": returns.height,
        "return_total_gross": total_return(gross),
        "return_total_net": total_return(net),
        "return_annual_gross": annual_return(gross, periods_per_year=periods_per_year),
        "return_annual_net": annual_return(net, periods_per_year=periods_per_year),
        "volatility_annual": annual_volatility(net, periods_per_year=periods_per_year),
        "sharpe_gross": sharpe(gross, periods_per_year=periods_per_year),
        "sharpe_net": sharpe(net, periods_per_year=periods_per_year),
        "max_drawdown": max_drawdown(net),
        "turnover_annual": float(returns["turnover"].to_numpy().sum() / years),
        "cost_annual": float(cost.sum() / years),
        "borrow_annual": float(borrow.sum() / years),
        "n_trades": n_trades,
        "gross_exposure_mean": exposure["gross"],
        "net_exposure_mean": exposure["net"],
    }


def _empty() -> PortfolioResult:
    stats: dict[str, Any] = dict.fromkeys(
        [
            "first_date",
            "last_date",
            "return_total_gross",
            "return_total_net",
            "return_annual_gross",
            "return_annual_net",
            "volatility_annual",
            "sharpe_gross",
            "sharpe_net",
            "max_drawdown",
            "turnover_annual",
            "cost_annual",
            "borrow_annual",
            "gross_exposure_mean",
            "net_exposure_mean",
        ]
    )
    return PortfolioResult(
        returns=pl.DataFrame(schema=_RETURNS),
        trades=pl.DataFrame(schema=_TRADES),
        flags=pl.DataFrame(schema=_FLAGS),
        stats=stats | {"n_sessions": 0, "n_trades": 0},
    )


def _check_weights(weights: pl.DataFrame) -> None:
    bad = weights.filter(pl.col("weight").is_null() | ~pl.col("weight").is_finite())
    if bad.height:
        row = bad.row(0, named=True)
        raise ValueError(
            f"weights: {row['ticker']} on {row['asof']} is {row['weight']}; weights must be finite"
        )

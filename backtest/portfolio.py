"""Portfolio simulation: decided at a close, filled at the next session's open.

1. ``PriceGrid`` squares the prices, ``plan_rebalances`` and ``plan_orders`` the weights and fees
2. ``_fill_orders`` runs the orders through vectorbt, once with fees and once without
3. ``book_from_fills`` turns the fills into positions, cash and equity
4. ``simulate`` takes borrow off the net returns and sums up

The only module that imports vectorbt, inside the function that needs it: the import takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .book import Book, book_from_fills, share_of
from .costs import Costs
from .grid import PriceGrid
from .orders import OrderPlan, plan_orders, plan_rebalances
from .performance import annual_return, annual_volatility, max_drawdown, sharpe, total_return

__all__ = ["PortfolioResult", "simulate"]

Floats = NDArray[np.float64]

# Trades below this share of the capital are rounding, not decisions.
_SMALLEST_TRADE = 1e-9

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


def simulate(
    weights: pl.DataFrame,
    prices: pl.DataFrame,
    *,
    costs: Costs,
    until: date | None = None,
    periods_per_year: int = 252,
    delisted_after: int = 10,
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

    Raises
    ------
    ValueError
        Naming the row, for repeated bars, prices not above zero or weights that are not finite.
    """
    _check_weights(weights)
    if until is not None:
        weights = weights.filter(pl.col("asof") < until)
    grid = PriceGrid.from_frame(prices, tickers=weights["ticker"].unique().to_list(), until=until)
    plan = plan_rebalances(weights, grid)
    if not len(plan.filled):
        return _empty()
    orders = plan_orders(plan, grid, costs=costs, delisted_after=delisted_after)
    first = int(plan.filled[0])
    fills = _fill_orders(orders, aum=costs.aum, fees=orders.fees)
    net_book = book_from_fills(fills, orders, aum=costs.aum, first=first)
    gross_fills = _fill_orders(orders, aum=costs.aum, fees=np.zeros_like(orders.fees))
    gross_book = book_from_fills(gross_fills, orders, aum=costs.aum, first=first)

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


def _fill_orders(orders: OrderPlan, *, aum: float, fees: Floats) -> NDArray[Any]:
    """Fills as records (idx, col, size, price, fees, side) with side 0 a buy, 1 a sell."""
    import pandas as pd
    import vectorbt as vbt

    portfolio = vbt.Portfolio.from_orders(
        pd.DataFrame(orders.close),
        size=orders.size,
        size_type="targetpercent",
        price=orders.price,
        # The book is valued at the fill prices, so that targets are shares of what it is worth then
        val_price=orders.valuation,
        fees=fees,
        min_size=_SMALLEST_TRADE * aum / orders.valuation,
        init_cash=aum,
        cash_sharing=True,
        group_by=True,
        call_seq="auto",
        max_orders=max(1, int(np.isfinite(orders.price).sum())),
        freq="1D",
    )
    return np.asarray(portfolio.order_records)


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

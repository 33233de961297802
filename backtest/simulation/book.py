"""What a list of fills makes of the capital: a daily book, and the result that it comes to.

1. ``book_from_fills`` follows positions, cash and equity session by session
2. ``portfolio_result`` takes borrow off the net returns and sums up
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..costs import Costs
from ..grid import PriceGrid
from ..statistics.performance import performance_figures, total_return
from .orders import OrderPlan

__all__ = ["Book", "PortfolioResult", "book_from_fills", "empty_result", "portfolio_result"]

Floats = NDArray[np.float64]

_MONEY = ("turnover", "long_exposure", "short_exposure", "equity", "cash")
_RETURNS = {"date": pl.Date, **dict.fromkeys(("gross", "net", *_MONEY), pl.Float64)}
_TRADES = {
    **{"date": pl.Date, "ticker": pl.String, "side": pl.String},
    **dict.fromkeys(("shares", "price", "value", "cost"), pl.Float64),
}
_FLAGS = {"date": pl.Date, "ticker": pl.String, "flag": pl.String}


@dataclass(frozen=True)
class Book:
    """Daily state from the first fill on; all arrays (T,), in money unless said otherwise.

    ``previous`` is the equity before the session (the capital on the first one), ``turnover`` is
    Σ|w − w⁻|/2 at the fill, ``ruined`` the row of the grid on which equity fell to zero or below;
    from there on everything is 0.
    """

    equity: Floats
    previous: Floats
    cash: Floats
    turnover: Floats
    fees: Floats
    long_value: Floats
    short_value: Floats
    ruined: int | None

    @property
    def daily_returns(self) -> Floats:
        """Simple returns, 0 after ruin."""
        return np.divide(
            self.equity - self.previous,
            self.previous,
            out=np.zeros_like(self.equity),
            where=self.previous > 0,
        )


@dataclass(frozen=True)
class PortfolioResult:
    """A simulated portfolio.

    Attributes
    ----------
    returns
        date, gross, net, turnover, long_exposure, short_exposure, equity, cash; one row a session
        from the first fill on. Returns are simple daily returns; exposures are shares of equity at
        the close, both above 0; turnover is Σ|w − w⁻|/2 at the fill; equity and cash are money of
        the book after its fees. Borrow is charged against the returns and is not in them.
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


def book_from_fills(fills: NDArray[Any], orders: OrderPlan, grid: PriceGrid, *, aum: float) -> Book:
    """Follows the fills (idx, col, size, price, fees, side; side 0 buys) from ``aum`` in cash.

    The book begins on the first session with orders. Positions are valued at the last known close.
    """
    first = int(orders.rows[0])
    sign = np.where(fills["side"] == 0, 1.0, -1.0)
    value = fills["size"] * fills["price"]
    close = grid.last_close[first:]
    rows, session = len(close), fills["idx"] - first

    def per_session(amounts: Floats) -> Floats:
        return np.bincount(session, amounts, minlength=rows).astype(np.float64)

    cash = aum + np.cumsum(per_session(-sign * value - fills["fees"]))
    positions = _positions(fills, sign, orders)
    held, gross = _held_value(positions, orders, close)
    equity = cash + held
    turnover = _turnover(per_session(value), positions, orders, cash, aum=aum)
    fees = per_session(fills["fees"])
    lost = np.flatnonzero(equity <= 0)
    ruined = int(lost[0]) if len(lost) else None
    if ruined is not None:
        for series in (equity, cash, held, gross):
            series[ruined:] = 0.0
        turnover[ruined + 1 :] = 0.0
        fees[ruined + 1 :] = 0.0
    return Book(
        equity=equity,
        previous=np.concatenate([[aum], equity[:-1]]),
        cash=cash,
        turnover=turnover,
        fees=fees,
        long_value=np.maximum(gross + held, 0.0) / 2,
        short_value=np.maximum(gross - held, 0.0) / 2,
        ruined=None if ruined is None else ruined + first,
    )


def _positions(fills: NDArray[Any], sign: Floats, orders: OrderPlan) -> Floats:
    """(K, N): shares held after the orders of each of ``orders.rows``."""
    traded = np.zeros(orders.size.shape)
    traded[np.searchsorted(orders.rows, fills["idx"]), fills["col"]] = sign * fills["size"]
    return np.cumsum(traded, axis=0, out=traded)


def _held_value(positions: Floats, orders: OrderPlan, close: Floats) -> tuple[Floats, Floats]:
    """(T,): Σ shares · close and Σ |shares · close| at each session of the book."""
    held, gross = np.zeros(len(close)), np.zeros(len(close))
    bounds = np.append(orders.rows - orders.rows[0], len(close))
    for shares, start, end in zip(positions, bounds[:-1], bounds[1:], strict=True):
        # Only what is held: a ticker that has not traded yet has no close.
        names = np.flatnonzero(shares)
        prices, amount = close[start:end, names], shares[names]
        held[start:end] = prices @ amount
        gross[start:end] = prices @ np.abs(amount)
    return held, gross


def _turnover(
    volume: Floats, positions: Floats, orders: OrderPlan, cash: Floats, *, aum: float
) -> Floats:
    """(T,): half the traded value over what the book is worth at its fill prices before trading."""
    before = np.vstack([np.zeros((1, positions.shape[1])), positions[:-1]])
    rows = orders.rows - orders.rows[0]
    at_open = np.zeros(len(volume))
    at_open[rows] = np.concatenate([[aum], cash[:-1]])[rows]
    at_open[rows] += np.einsum("kn,kn->k", before, orders.valuation)
    return np.where(volume > 0, _share_of(volume, at_open) / 2, 0.0)


def _share_of(part: Floats, whole: Floats) -> Floats:
    """part / whole, 0 where the whole is not above 0."""
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def portfolio_result(
    grid: PriceGrid,
    orders: OrderPlan,
    fills: NDArray[Any],
    *,
    costs: Costs,
    net_book: Book,
    gross_book: Book,
    periods_per_year: int,
    keep_trades: bool = True,
) -> PortfolioResult:
    """The result of a simulation with costs and, beside it, of the same orders without."""
    if net_book.ruined is not None:
        fills = fills[fills["idx"] <= net_book.ruined]
    borrow_rate = costs.borrow_bps_per_year / 1e4 / periods_per_year
    borrow = borrow_rate * _share_of(net_book.short_value, net_book.previous)
    returns = pl.DataFrame(
        {
            "date": grid.sessions[int(orders.rows[0]) :],
            "gross": gross_book.daily_returns,
            "net": net_book.daily_returns - borrow,
            "turnover": net_book.turnover,
            "long_exposure": _share_of(net_book.long_value, net_book.equity),
            "short_exposure": _share_of(net_book.short_value, net_book.equity),
            "equity": net_book.equity,
            "cash": net_book.cash,
        },
        schema_overrides=_RETURNS,
    )
    cost = _share_of(net_book.fees, net_book.previous)
    trades = _trades(fills, grid) if keep_trades else pl.DataFrame(schema=_TRADES)
    flags = _flags(orders, fills, grid, net_book)
    stats = _stats(returns, len(fills), cost, borrow, periods_per_year)
    return PortfolioResult(returns, trades, flags, stats)


def empty_result() -> PortfolioResult:
    """Of weights that lead to no order."""
    returns, trades, flags = (pl.DataFrame(schema=of) for of in (_RETURNS, _TRADES, _FLAGS))
    return PortfolioResult(returns, trades, flags, _stats(returns, 0, np.zeros(0), np.zeros(0), 1))


def _trades(fills: NDArray[Any], grid: PriceGrid) -> pl.DataFrame:
    fills = fills[np.lexsort((fills["col"], fills["idx"]))]  # tickers ascend with their columns
    tickers = pl.Series(grid.tickers, dtype=pl.String)
    return pl.DataFrame(
        {
            "date": grid.sessions[fills["idx"]],
            "ticker": tickers.gather(fills["col"]),
            "side": pl.Series(["buy", "sell"]).gather(fills["side"]),
            "shares": fills["size"],
            "price": fills["price"],
            "value": fills["size"] * fills["price"],
            "cost": fills["fees"],
        },
        schema_overrides=_TRADES,
    )


def _flags(orders: OrderPlan, fills: NDArray[Any], grid: PriceGrid, book: Book) -> pl.DataFrame:
    cells = [(*cell, "no_open") for cell in orders.missed]
    if orders.exits:
        exits, width = np.array(orders.exits), len(grid.tickers)
        sold = np.isin(exits @ [width, 1], fills["idx"] * width + fills["col"])
        cells += [(row, column, "delisted") for row, column in exits[sold].tolist()]
    rows: list[tuple[Any, str | None, str]] = [
        (grid.sessions[row].item(), grid.tickers[column], flag) for row, column, flag in cells
    ]
    if book.ruined is not None:
        rows.append((grid.sessions[book.ruined].item(), None, "ruined"))
    return pl.DataFrame(rows, schema=_FLAGS, orient="row").sort("date", "flag", "ticker")


def _stats(
    returns: pl.DataFrame, n_trades: int, cost: Floats, borrow: Floats, periods_per_year: int
) -> dict[str, Any]:
    gross, net = returns["gross"].to_numpy(), returns["net"].to_numpy()
    years = len(net) / periods_per_year
    long, short = returns["long_exposure"], returns["short_exposure"]

    def per_year(values: Floats) -> float | None:
        return float(values.sum() / years) if years else None

    return {
        "first_date": returns["date"][0].isoformat() if years else None,
        "last_date": returns["date"][-1].isoformat() if years else None,
        "n_sessions": returns.height,
        "return_total_gross": total_return(gross),
        "return_total_net": total_return(net),
        **performance_figures(gross, net, periods_per_year=periods_per_year),
        "turnover_annual": per_year(returns["turnover"].to_numpy()),
        "cost_annual": per_year(cost),
        "borrow_annual": per_year(borrow),
        "n_trades": n_trades,
        "gross_exposure_mean": (long + short).mean(),
        "net_exposure_mean": (long - short).mean(),
    }

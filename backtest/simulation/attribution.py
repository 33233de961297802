"""Where a portfolio's result came from: legs, names, regimes and kinds of cost.

1. ``_positions`` rebuilds shares a session from the fills
2. ``_profits`` splits each name's daily profit at the fill: before it by the old position, after it
   by the new one, so that a position that turns counts for the leg that earned it
3. ``attribute`` sums by name, leg and regime, and costs by kind

Money is in shares of the starting capital throughout: profits of all legs minus all costs are the
net result, exactly (a test holds this to 1e-9).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from backtest.costs import Costs
from backtest.grid import PriceGrid, forward_fill

__all__ = ["Attribution", "attribute", "holding_periods", "rolling_beta"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Attribution:
    """Profits and costs as shares of the starting capital.

    Attributes
    ----------
    names
        ticker, leg (long|short), profit (before costs), cost (fees), sessions held.
    legs
        leg, profit, cost, borrow.
    regimes
        kind, regime, profit, cost (fees and borrow), n_sessions; empty without regimes.
    costs
        kind (spread|impact|borrow), cost.
    daily
        date, long, short (profit of the leg), cost (fees and borrow), one row a session.
    """

    names: pl.DataFrame
    legs: pl.DataFrame
    regimes: pl.DataFrame
    costs: pl.DataFrame
    daily: pl.DataFrame


def attribute(
    trades: pl.DataFrame,
    prices: pl.DataFrame,
    *,
    costs: Costs,
    sessions: pl.Series,
    regimes: pl.DataFrame | None = None,
    periods_per_year: int = 252,
) -> Attribution:
    """Attribution of a simulated portfolio.

    Parameters
    ----------
    trades
        date, ticker, side, shares, price, value, cost: ``PortfolioResult.trades``.
    prices
        date, ticker, open, close, amount as given to the simulation.
    costs
        The cost assumptions the trades were made under.
    sessions
        Dates of ``PortfolioResult.returns``.
    regimes
        date and one column a kind of regime, known at that date's close; a session's result counts
        for the regime of the session before it, which is what was known when it was held.
    periods_per_year
        252, or 365 where every day is a session.
    """
    grid = PriceGrid.from_frame(
        prices,
        tickers=trades["ticker"].unique().to_list(),
        until=sessions.max(),  # type: ignore[arg-type]
    )
    close = np.nan_to_num(forward_fill(grid.close), nan=0.0)
    traded, fill, fee, value = _fills(trades, grid)
    shares = np.cumsum(traded, axis=0)
    held, earned = _profits(shares, traded, fill, close)
    rate = costs.borrow_bps_per_year / 1e4 / periods_per_year
    borrow = rate * np.clip(-shares * close, 0, None)
    leg_of_fee = np.where(shares != 0, shares, held)
    spread = np.minimum(costs.round_trip_bps / 2 / 1e4 * value, fee)
    capital = costs.aum
    return Attribution(
        names=_by_name(grid, held, shares, earned, fee, leg_of_fee, capital),
        legs=_by_leg(held, shares, earned, fee, leg_of_fee, borrow, capital),
        regimes=_by_regime(grid, earned, fee + borrow, regimes, sessions, capital),
        costs=pl.DataFrame(
            {
                "kind": ["spread", "impact", "borrow"],
                "cost": [
                    spread.sum() / capital,
                    (fee - spread).sum() / capital,
                    borrow.sum() / capital,
                ],
            }
        ),
        daily=_by_session(grid, held, shares, earned, fee + borrow, sessions, capital),
    )


def holding_periods(trades: pl.DataFrame, sessions: pl.Series) -> pl.DataFrame:
    """ticker, leg, first, last, sessions, open: one row a position from entry to exit.

    A position that turns from long to short is two. ``open`` is true where it is still held at the
    end; its length is then a lower bound.
    """
    rows = []
    day = {date: index for index, date in enumerate(sessions.to_list())}
    for (ticker,), fills in trades.sort("date").group_by("ticker", maintain_order=True):
        shares, entered = 0.0, 0
        scale = float(fills["shares"].max() or 1.0)  # type: ignore[arg-type]
        for when, side, size in fills.select("date", "side", "shares").iter_rows():
            after = shares + (size if side == "buy" else -size)
            if abs(after) < 1e-9 * scale:
                after = 0.0
            if shares and np.sign(after) != np.sign(shares):
                rows.append((ticker, _leg(shares), entered, day[when], False))
            if after and np.sign(after) != np.sign(shares):
                entered = day[when]
            shares = after
        if shares:
            rows.append((ticker, _leg(shares), entered, len(day), True))
    frame = pl.DataFrame(
        rows,
        schema={
            "ticker": pl.String,
            "leg": pl.String,
            "first": pl.Int64,
            "last": pl.Int64,
            "open": pl.Boolean,
        },
        orient="row",
    )
    dates = sessions.to_list()
    return frame.select(
        "ticker",
        "leg",
        first=pl.Series([dates[i] for i in frame["first"]], dtype=pl.Date),
        last=pl.Series([dates[min(i, len(dates) - 1)] for i in frame["last"]], dtype=pl.Date),
        sessions=pl.col("last") - pl.col("first"),
        open="open",
    )


def rolling_beta(returns: pl.DataFrame, *, window: int = 63) -> pl.DataFrame:
    """date, beta: slope of net on benchmark returns over the last ``window`` sessions.

    Takes date, net, benchmark; null until the window is full or where the benchmark does not move.
    """
    x, y = pl.col("benchmark"), pl.col("net")

    def mean(values: pl.Expr) -> pl.Expr:
        return values.rolling_mean(window)

    covariance = mean(x * y) - mean(x) * mean(y)
    variance = mean(x * x) - mean(x) ** 2
    return returns.sort("date").select(
        "date", beta=pl.when(variance > 1e-18).then(covariance / variance)
    )


def _fills(trades: pl.DataFrame, grid: PriceGrid) -> tuple[Floats, Floats, Floats, Floats]:
    """Signed shares, fill price, fee and value, each (T, N); 0 where nothing was traded."""
    shape = grid.close.shape
    row = np.searchsorted(grid.sessions, trades["date"].to_numpy().astype("datetime64[D]"))
    column = pl.Series(grid.tickers, dtype=pl.String).search_sorted(trades["ticker"]).to_numpy()
    sign = np.where(trades["side"].to_numpy() == "buy", 1.0, -1.0)

    def dense(values: NDArray[np.float64]) -> Floats:
        out = np.zeros(shape)
        out[row, column] = values
        return out

    return (
        dense(sign * trades["shares"].to_numpy()),
        dense(trades["price"].to_numpy()),
        dense(trades["cost"].to_numpy()),
        dense(trades["value"].to_numpy()),
    )


def _profits(
    shares: Floats, traded: Floats, fill: Floats, close: Floats
) -> tuple[Floats, tuple[Floats, Floats]]:
    """Shares before each session, and the profit before and after the session's fill."""
    held = np.vstack([np.zeros((1, shares.shape[1])), shares[:-1]])
    previous = np.vstack([close[:1], close[:-1]])
    at = np.where(traded != 0, fill, close)
    return held, (held * (at - previous), shares * (close - at))


def _by_name(
    grid: PriceGrid,
    held: Floats,
    shares: Floats,
    earned: tuple[Floats, Floats],
    fee: Floats,
    leg_of_fee: Floats,
    capital: float,
) -> pl.DataFrame:
    frames = []
    for leg, sign in (("long", 1), ("short", -1)):
        before = np.where(held * sign > 0, earned[0], 0).sum(axis=0)
        after = np.where(shares * sign > 0, earned[1], 0).sum(axis=0)
        frames.append(
            pl.DataFrame(
                {
                    "ticker": list(grid.tickers),
                    "leg": [leg] * len(grid.tickers),
                    "profit": (before + after) / capital,
                    "cost": np.where(leg_of_fee * sign > 0, fee, 0).sum(axis=0) / capital,
                    "sessions": (shares * sign > 0).sum(axis=0),
                },
                schema_overrides={"ticker": pl.String, "leg": pl.String},
            )
        )
    touched = (pl.col("sessions") > 0) | (pl.col("profit") != 0) | (pl.col("cost") != 0)
    return pl.concat(frames).filter(touched).sort("ticker", "leg")


def _by_leg(
    held: Floats,
    shares: Floats,
    earned: tuple[Floats, Floats],
    fee: Floats,
    leg_of_fee: Floats,
    borrow: Floats,
    capital: float,
) -> pl.DataFrame:
    def total(sign: int) -> tuple[float, float]:
        before = earned[0][held * sign > 0].sum()
        after = earned[1][shares * sign > 0].sum()
        return (before + after) / capital, fee[leg_of_fee * sign > 0].sum() / capital

    (long, long_cost), (short, short_cost) = total(1), total(-1)
    return pl.DataFrame(
        {
            "leg": ["long", "short"],
            "profit": [long, short],
            "cost": [long_cost, short_cost],
            "borrow": [0.0, borrow.sum() / capital],
        }
    )


def _by_session(
    grid: PriceGrid,
    held: Floats,
    shares: Floats,
    earned: tuple[Floats, Floats],
    cost: Floats,
    sessions: pl.Series,
    capital: float,
) -> pl.DataFrame:
    def leg(sign: int) -> Floats:
        before = np.where(held * sign > 0, earned[0], 0).sum(axis=1)
        after = np.where(shares * sign > 0, earned[1], 0).sum(axis=1)
        return np.asarray((before + after) / capital)

    days = pl.DataFrame(
        {
            "date": grid.sessions,
            "long": leg(1),
            "short": leg(-1),
            "cost": cost.sum(axis=1) / capital,
        }
    )
    return days.filter(pl.col("date").is_in(sessions.implode()))


def _by_regime(
    grid: PriceGrid,
    earned: tuple[Floats, Floats],
    cost: Floats,
    regimes: pl.DataFrame | None,
    sessions: pl.Series,
    capital: float,
) -> pl.DataFrame:
    schema = {
        "kind": pl.String,
        "regime": pl.String,
        "profit": pl.Float64,
        "cost": pl.Float64,
        "n_sessions": pl.Int64,
    }
    if regimes is None:
        return pl.DataFrame(schema=schema)
    daily = pl.DataFrame(
        {
            "date": grid.sessions,
            "profit": (earned[0] + earned[1]).sum(axis=1) / capital,
            "cost": cost.sum(axis=1) / capital,
        }
    ).with_columns(known=pl.col("date").shift(1))
    held = daily.filter(pl.col("date").is_in(sessions.implode())).drop_nulls("known")
    kinds = [name for name in regimes.columns if name != "date"]
    joined = held.join(regimes.rename({"date": "known"}), on="known", how="left")
    return pl.concat(
        [
            pl.DataFrame(schema=schema),
            *(
                joined.group_by(regime=pl.col(kind).fill_null("unknown"))
                .agg(pl.col("profit", "cost").sum(), n_sessions=pl.len().cast(pl.Int64))
                .select(pl.lit(kind).alias("kind"), *list(schema)[1:])
                .sort("regime")
                for kind in kinds
            ),
        ]
    )


def _leg(shares: float) -> str:
    return "long" if shares > 0 else "short"

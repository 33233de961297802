"""Where a portfolio's result came from: legs, names, regimes and kinds of cost.

1. ``_Ledger.of`` rebuilds the positions of each session from the fills, and splits each name's
   daily profit at the fill: before it by the old position, after it by the new one, so that a
   position that turns counts for the leg that earned it
2. ``attribute`` sums by name, leg, regime and session, and costs by kind
3. ``attribution_figures`` is what ``metrics.json`` keeps of it

Money is in shares of the starting capital throughout: profits of all legs minus all costs are the
net result, exactly (a test holds this to 1e-9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..costs import Costs
from ..grid import PriceGrid, forward_fill

__all__ = [
    "Attribution",
    "attribute",
    "attribution_figures",
    "holding_periods",
    "rolling_beta",
]

Floats = NDArray[np.float64]

_LEGS = (("long", 1), ("short", -1))
_REGIMES = {
    "kind": pl.String,
    "regime": pl.String,
    "profit": pl.Float64,
    "cost": pl.Float64,
    "n_sessions": pl.Int64,
}
_HOLDING = {
    "ticker": pl.String,
    "leg": pl.String,
    "first": pl.Date,
    "last": pl.Date,
    "sessions": pl.Int64,
    "open": pl.Boolean,
}
_SHOWN_NAMES = 10
BETA_SESSIONS = 63


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
    ledger = _Ledger.of(trades, grid, costs, periods_per_year)
    return Attribution(
        names=_by_name(ledger),
        legs=_by_leg(ledger),
        regimes=_by_regime(ledger, regimes, sessions),
        costs=_by_kind(ledger),
        daily=_by_session(ledger, sessions),
    )


def attribution_figures(
    found: Attribution, trades: pl.DataFrame, returns: pl.DataFrame, beta: pl.Series
) -> dict[str, Any]:
    """legs, costs, regimes, names (the best and the worst), holding, exposure and beta, of the
    portfolio's trades and returns and its :func:`rolling_beta`."""
    net, beta = returns["long_exposure"] - returns["short_exposure"], beta.drop_nulls()
    return {
        "legs": found.legs.to_dicts(),
        "costs": found.costs.to_dicts(),
        "regimes": found.regimes.to_dicts(),
        "names": _extreme_names(found.names),
        "holding": _holding(holding_periods(trades, returns["date"])),
        "exposure": {
            "long_mean": returns["long_exposure"].mean(),
            "short_mean": returns["short_exposure"].mean(),
            "net_min": net.min(),
            "net_max": net.max(),
        },
        "beta": {
            "sessions": BETA_SESSIONS,
            "mean": beta.mean(),
            "min": beta.min(),
            "max": beta.max(),
        },
    }


def holding_periods(trades: pl.DataFrame, sessions: pl.Series) -> pl.DataFrame:
    """ticker, leg, first, last, sessions, open: one row a position from entry to exit.

    A position that turns from long to short is two. ``open`` is true where it is still held at the
    end; its length is then a lower bound.
    """
    rows: list[tuple[object, ...]] = []
    dates = sessions.to_list()
    place = {date: index for index, date in enumerate(dates)}
    for (ticker,), fills in trades.sort("date").group_by("ticker", maintain_order=True):
        shares, entered = 0.0, 0
        scale = float(fills["shares"].max() or 1.0)  # type: ignore[arg-type]
        for when, side, size in fills.select("date", "side", "shares").iter_rows():
            after = shares + (size if side == "buy" else -size)
            if abs(after) < 1e-9 * scale:
                after = 0.0
            if np.sign(after) != np.sign(shares):
                if shares:
                    held = place[when] - entered
                    rows.append((ticker, _leg(shares), dates[entered], when, held, False))
                entered = place[when]
            shares = after
        if shares:
            held = len(dates) - entered
            rows.append((ticker, _leg(shares), dates[entered], dates[-1], held, True))
    return pl.DataFrame(rows, schema=_HOLDING, orient="row")


def rolling_beta(returns: pl.DataFrame, *, window: int = BETA_SESSIONS) -> pl.DataFrame:
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


@dataclass(frozen=True)
class _Ledger:
    """Positions and money of every session; arrays are (T, N), money is not yet divided by capital.

    ``held`` and ``shares`` are the shares before and after the session's fill, ``old`` and ``new``
    the profits of each.
    """

    sessions: NDArray[np.datetime64]
    tickers: tuple[str, ...]
    held: Floats
    shares: Floats
    old: Floats
    new: Floats
    fee: Floats
    spread: Floats
    borrow: Floats
    capital: float

    @classmethod
    def of(
        cls, trades: pl.DataFrame, grid: PriceGrid, costs: Costs, periods_per_year: int
    ) -> _Ledger:
        row = np.searchsorted(grid.sessions, trades["date"].to_numpy().astype("datetime64[D]"))
        column = pl.Series(grid.tickers, dtype=pl.String).search_sorted(trades["ticker"])

        def dense(values: Floats) -> Floats:
            """0 where nothing was traded."""
            out = np.zeros(grid.close.shape)
            out[row, column.to_numpy()] = values
            return out

        sign = np.where(trades["side"].to_numpy() == "buy", 1.0, -1.0)
        traded = dense(sign * trades["shares"].to_numpy())
        fee, value = dense(trades["cost"].to_numpy()), dense(trades["value"].to_numpy())
        close = np.nan_to_num(forward_fill(grid.close), nan=0.0)
        previous = np.vstack([close[:1], close[:-1]])
        fill = np.where(traded != 0, dense(trades["price"].to_numpy()), close)
        shares = np.cumsum(traded, axis=0)
        held = np.vstack([np.zeros((1, shares.shape[1])), shares[:-1]])
        rate = costs.borrow_bps_per_year / 1e4 / periods_per_year
        return cls(
            sessions=grid.sessions,
            tickers=grid.tickers,
            held=held,
            shares=shares,
            old=held * (fill - previous),
            new=shares * (close - fill),
            fee=fee,
            spread=np.minimum(costs.round_trip_bps / 2 / 1e4 * value, fee),
            borrow=rate * np.clip(-shares * close, 0, None),
            capital=costs.aum,
        )

    def profit(self, sign: int, axis: int) -> Floats:
        """Of one leg, summed over sessions (axis 0) or names (axis 1)."""
        old = np.where(self.held * sign > 0, self.old, 0).sum(axis=axis)
        new = np.where(self.shares * sign > 0, self.new, 0).sum(axis=axis)
        return np.asarray((old + new) / self.capital)

    def pays(self, sign: int) -> NDArray[np.bool_]:
        """Whose fee it is: the leg's that is held after the fill, or was before it."""
        return np.where(self.shares != 0, self.shares, self.held) * sign > 0


def _by_name(ledger: _Ledger) -> pl.DataFrame:
    frames = [
        pl.DataFrame(
            {
                "ticker": list(ledger.tickers),
                "leg": [leg] * len(ledger.tickers),
                "profit": ledger.profit(sign, axis=0),
                "cost": np.where(ledger.pays(sign), ledger.fee, 0).sum(axis=0) / ledger.capital,
                "sessions": (ledger.shares * sign > 0).sum(axis=0),
            },
            schema_overrides={"ticker": pl.String, "leg": pl.String},
        )
        for leg, sign in _LEGS
    ]
    touched = (pl.col("sessions") > 0) | (pl.col("profit") != 0) | (pl.col("cost") != 0)
    return pl.concat(frames).filter(touched).sort("ticker", "leg")


def _by_leg(ledger: _Ledger) -> pl.DataFrame:
    rows = []
    for leg, sign in _LEGS:
        old = ledger.old[ledger.held * sign > 0].sum()
        new = ledger.new[ledger.shares * sign > 0].sum()
        borrow = ledger.borrow.sum() if sign < 0 else 0.0
        money = np.array([old + new, ledger.fee[ledger.pays(sign)].sum(), borrow])
        rows.append((leg, *(money / ledger.capital).tolist()))
    return pl.DataFrame(rows, schema=["leg", "profit", "cost", "borrow"], orient="row")


def _by_kind(ledger: _Ledger) -> pl.DataFrame:
    impact = ledger.fee - ledger.spread
    costs = [kind.sum() / ledger.capital for kind in (ledger.spread, impact, ledger.borrow)]
    return pl.DataFrame({"kind": ["spread", "impact", "borrow"], "cost": costs})


def _by_session(ledger: _Ledger, sessions: pl.Series) -> pl.DataFrame:
    days = pl.DataFrame(
        {
            "date": ledger.sessions,
            "long": ledger.profit(1, axis=1),
            "short": ledger.profit(-1, axis=1),
            "cost": (ledger.fee + ledger.borrow).sum(axis=1) / ledger.capital,
        }
    )
    return days.filter(pl.col("date").is_in(sessions.implode()))


def _by_regime(ledger: _Ledger, regimes: pl.DataFrame | None, sessions: pl.Series) -> pl.DataFrame:
    empty = pl.DataFrame(schema=_REGIMES)
    if regimes is None:
        return empty
    daily = pl.DataFrame(
        {
            "date": ledger.sessions,
            "profit": (ledger.old + ledger.new).sum(axis=1) / ledger.capital,
            "cost": (ledger.fee + ledger.borrow).sum(axis=1) / ledger.capital,
        }
    ).with_columns(known=pl.col("date").shift(1))
    held = daily.filter(pl.col("date").is_in(sessions.implode())).drop_nulls("known")
    joined = held.join(regimes.rename({"date": "known"}), on="known", how="left")
    parts = [
        joined.group_by(regime=pl.col(kind).fill_null("unknown"))
        .agg(pl.col("profit", "cost").sum(), n_sessions=pl.len().cast(pl.Int64))
        .select(pl.lit(kind).alias("kind"), *list(_REGIMES)[1:])
        .sort("regime")
        for kind in regimes.columns
        if kind != "date"
    ]
    return pl.concat([empty, *parts])


def _extreme_names(names: pl.DataFrame) -> dict[str, Any]:
    """The names that earned and lost most after fees, both legs of a name together."""
    total = (
        names.group_by("ticker")
        .agg(pl.col("profit", "cost", "sessions").sum())
        .with_columns(net=pl.col("profit") - pl.col("cost"))
        .sort("net", "ticker", descending=[True, False])
    )
    best = total.filter(pl.col("net") > 0).head(_SHOWN_NAMES)
    worst = total.filter(pl.col("net") < 0).tail(_SHOWN_NAMES).reverse()
    return {"n": total.height, "best": best.to_dicts(), "worst": worst.to_dicts()}


def _holding(periods: pl.DataFrame) -> dict[str, Any]:
    closed = periods.filter(~pl.col("open"))["sessions"]
    return {
        "n_positions": periods.height,
        "n_open": int(periods["open"].sum()),
        "sessions_median": closed.median(),
        "sessions_mean": closed.mean(),
    }


def _leg(shares: float) -> str:
    return "long" if shares > 0 else "short"

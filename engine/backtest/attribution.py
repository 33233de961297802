"""Where the portfolio's result came from: `metrics["attribution"]` and its daily frame."""

from __future__ import annotations

from typing import Any

import polars as pl

from backtest.costs import Costs
from backtest.judge import Judgement, json_ready
from backtest.simulation.attribution import attribute, holding_periods, rolling_beta
from engine.data.market import Market
from engine.features.regimes import classify_regimes

__all__ = ["BETA_SESSIONS", "attribute_result"]

BETA_SESSIONS = 63
_SHOWN_NAMES = 10


def attribute_result(
    judged: Judgement, market: Market, costs: Costs
) -> tuple[dict[str, Any], pl.DataFrame]:
    """(figures, daily) of the judged portfolio; ({}, no rows) where nothing was traded.

    Profits and costs are shares of the starting capital: the legs' profits less all costs are the
    net result. daily: date, long, short, cost, long_exposure, short_exposure, turnover, beta (to
    the benchmark over `BETA_SESSIONS`; null without one). After ruin nothing is attributed.
    """
    returns, trades = judged.returns, judged.trades
    ruined = judged.flags.filter(pl.col("flag") == "ruined")["date"].min()
    if ruined is not None:
        returns = returns.filter(pl.col("date") <= ruined)
        trades = trades.filter(pl.col("date") <= ruined)
    if trades.is_empty():
        return {}, pl.DataFrame()
    sessions = returns["date"]
    regimes = classify_regimes(market, market.bars["date"].unique().to_list()).select(
        date="asof", volatility="volatility_regime", trend="trend_regime"
    )
    found = attribute(
        trades,
        market.adjusted().select("date", "ticker", "open", "close", "amount"),
        costs=costs,
        sessions=sessions,
        regimes=regimes,
        periods_per_year=market.calendar.periods_per_year,
    )
    daily = found.daily.join(
        returns.select("date", "long_exposure", "short_exposure", "turnover"), on="date"
    ).join(rolling_beta(returns, window=BETA_SESSIONS), on="date")
    beta = daily["beta"].drop_nulls()
    net = returns["long_exposure"] - returns["short_exposure"]
    figures = {
        "legs": found.legs.to_dicts(),
        "costs": found.costs.to_dicts(),
        "regimes": found.regimes.to_dicts(),
        "names": _names(found.names),
        "holding": _holding(holding_periods(trades, sessions)),
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
    return json_ready(figures), daily


def _names(names: pl.DataFrame) -> dict[str, Any]:
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

"""Features and labels as one writes them in pandas: wide frames and rolling windows.

What ours are measured beside, and an oracle for them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

__all__ = ["pandas_features", "pandas_labels"]

_YEAR = 252


def pandas_features(bars: pd.DataFrame, benchmark: pd.DataFrame) -> pd.DataFrame:
    """date, ticker and the factors of `engine.features.FACTORS`, of bars without gaps."""
    close = _wide(bars.assign(value=bars["close"] * bars["adj_factor"]))
    money = _wide(bars.assign(value=bars["amount"]))
    index = benchmark.set_index("date")["close"].reindex(close.index)
    daily, market = close.pct_change(fill_method=None), index.pct_change(fill_method=None)
    momentum = {
        name: close / close.shift(n) - 1
        for name, n in (
            ("momentum_1m", 21),
            ("momentum_3m", 63),
            ("momentum_6m", 126),
            ("momentum_12m", 252),
        )
    }
    volatility = {n: daily.rolling(n).std() * _YEAR**0.5 for n in (20, 60)}
    impact = (1e6 * daily.abs() / money).where(money > 0)
    illiquid = impact.rolling(60, min_periods=40).mean().where(daily.shift(59).notna())
    wide = {
        **momentum,
        "momentum_12_1": close.shift(21) / close.shift(252) - 1,
        "reversal_5": 1 - close / close.shift(5),
        "volatility_20": volatility[20],
        "volatility_60": volatility[60],
        "vol_of_vol_60": volatility[20].rolling(60).std(),
        "drawdown_60": close / close.rolling(60).max() - 1,
        "adv_20": money.rolling(20).mean(),
        "adv_60": money.rolling(60).mean(),
        "amihud_60": illiquid,
        "beta_252": _beta(daily, market, 252),
        **{
            f"{name}_z": frame.sub(frame.mean(axis=1), axis=0).div(frame.std(axis=1), axis=0)
            for name, frame in momentum.items()
        },
    }
    return _long(wide)


def pandas_labels(
    bars: pd.DataFrame, benchmark: pd.DataFrame, horizons: Sequence[int]
) -> pd.DataFrame:
    """asof, ticker, horizon, label, label_next_open, total_return, of bars without gaps."""
    close = _wide(bars.assign(value=bars["close"] * bars["adj_factor"]))
    opened = _wide(bars.assign(value=bars["open"] * bars["adj_factor"]))
    index = benchmark.set_index("date").reindex(close.index)
    parts = []
    for horizon in horizons:
        ahead, market = close.shift(-horizon), index["close"].shift(-horizon)
        total = ahead / close - 1
        bought = ahead / opened.shift(-1) - 1
        wide = {
            "label": total.sub(market / index["close"] - 1, axis=0),
            "label_next_open": bought.sub(market / index["open"].shift(-1) - 1, axis=0),
            "total_return": total,
        }
        parts.append(_long(wide).assign(horizon=horizon))
    found = pd.concat(parts).rename(columns={"date": "asof"})
    return found.sort_values(["asof", "ticker", "horizon"], ignore_index=True)


def _beta(daily: pd.DataFrame, market: pd.Series, bars: int) -> pd.DataFrame:
    covariance = daily.rolling(bars).cov(market)
    return covariance.div(market.rolling(bars).var(), axis=0)


def _wide(bars: pd.DataFrame) -> pd.DataFrame:
    return bars.pivot(index="date", columns="ticker", values="value")


def _long(wide: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """date, ticker and one column a frame, sorted by ticker and date."""
    first = next(iter(wide.values()))
    dates, names = first.index.to_numpy(), first.columns.to_numpy()
    keys = {"date": np.tile(dates, len(names)), "ticker": np.repeat(names, len(dates))}
    return pd.DataFrame(keys | {name: frame.to_numpy().ravel("F") for name, frame in wide.items()})

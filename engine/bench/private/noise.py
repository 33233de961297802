"""A market nobody can predict, of any size."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from engine.calendar import TradingCalendar
from engine.data import Market
from engine.data.contract import BARS

__all__ = ["noise_market", "sessions_in"]

_START = date(2012, 1, 3)


def sessions_in(years: int) -> int:
    """Sessions of the first `years` of such a market."""
    end = _START.replace(year=_START.year + years)
    return len(TradingCalendar("XNYS").sessions(_START, end))


def noise_market(seed: int, *, names: int, sessions: int, benchmark: bool = False) -> Market:
    """Independent normal returns with a volatility of each name's own; nothing to predict.

    With `benchmark`, a series that is as random stands beside them.
    """
    calendar = TradingCalendar("XNYS")
    rng = np.random.default_rng(seed)
    days = calendar.sessions(_START, calendar.offset(_START, sessions - 1))
    volatility = rng.uniform(0.01, 0.03, (names, 1))
    steps = volatility * rng.standard_normal((names, sessions))
    drift = steps.var(axis=1, keepdims=True) / 2
    close = 50 * np.exp(np.cumsum(steps - drift, axis=1))
    money = rng.lognormal(13, 1, (names, 1)) * rng.lognormal(0, 0.4, (names, sessions))
    cell = np.arange(names * sessions, dtype=np.uint32)
    dates = pl.Series("date", days, dtype=pl.Date)
    tickers = pl.Series("ticker", [f"N{i:04d}" for i in range(names)])
    price, amount = pl.Series(close.ravel()), pl.Series(money.ravel())
    bars = pl.DataFrame(
        {
            "date": dates.gather(cell % sessions),
            "ticker": tickers.gather(cell // sessions),
            **dict.fromkeys(("open", "high", "low", "close"), price),
            "volume": amount / price,
            "amount": amount,
            "adj_factor": pl.repeat(1.0, len(cell), eager=True),
        },
        schema=BARS,
    )
    index = None
    if benchmark:
        level = 1000 * np.exp(np.cumsum(0.01 * rng.standard_normal(sessions)))
        index = pl.DataFrame({"date": dates, "open": level, "close": level})
    return Market(bars, index, None, calendar, pl.DataFrame(), drops={}, data_hash=f"noise {seed}")

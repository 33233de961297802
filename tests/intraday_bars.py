"""Five-minute bars of random closes on an exchange's real hours."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl

from engine.calendar import TradingCalendar


def five_minute_bars(calendar: TradingCalendar, first: date, last: date, tickers=("AAA", "BBB")):
    """Every bar that the exchange's hours hold; `ts` in UTC, `date` the session."""
    hours = calendar.schedule(first, last)
    stamps = [
        (day, opens + i * timedelta(minutes=5))
        for day, opens, closes in zip(
            calendar.sessions(first, last), hours["open"], hours["close"], strict=True
        )
        for i in range(int((closes - opens).total_seconds() // 300))
    ]
    frames = []
    for number, ticker in enumerate(tickers):
        rng = np.random.default_rng(number)
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.001, len(stamps))))
        frames.append(
            pl.DataFrame(
                {
                    "ticker": [ticker] * len(stamps),
                    "date": [day for day, _ in stamps],
                    "ts": pl.Series([ts for _, ts in stamps], dtype=pl.Datetime("us", "UTC")),
                    "open": close,
                    "high": close * 1.001,
                    "low": close * 0.999,
                    "close": close,
                    "volume": np.full(len(stamps), 100.0),
                    "amount": close * 100,
                    "adj_factor": np.ones(len(stamps)),
                }
            )
        )
    return pl.concat(frames)

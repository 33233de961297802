"""Small markets of random bars on real sessions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import polars as pl
import pytest

from engine.calendar import TradingCalendar


@pytest.fixture(scope="session")
def calendar() -> TradingCalendar:
    return TradingCalendar("XNYS")


@pytest.fixture(scope="session")
def make_bars(calendar) -> Callable[..., pl.DataFrame]:
    """make_bars({"A": (first session, last session)}, seed=0): consistent random bars."""

    def make(spans: dict[str, tuple[date, date]], seed: int = 0) -> pl.DataFrame:
        frames = []
        for number, (ticker, (start, end)) in enumerate(spans.items()):
            rng = np.random.default_rng([seed, number])
            days = calendar.sessions(start, end)
            close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, len(days))))
            opening = close * np.exp(rng.normal(0, 0.005, len(days)))
            spread = np.exp(np.abs(rng.normal(0, 0.005, len(days))))
            volume = rng.integers(1_000, 9_000, len(days)).astype(float)
            frames.append(
                pl.DataFrame(
                    {
                        "date": days,
                        "ticker": [ticker] * len(days),
                        "open": opening,
                        "high": np.maximum(opening, close) * spread,
                        "low": np.minimum(opening, close) / spread,
                        "close": close,
                        "volume": volume,
                        "amount": volume * close,
                        "adj_factor": np.ones(len(days)),
                    }
                )
            )
        return pl.concat(frames).sort("ticker", "date")

    return make


@pytest.fixture(scope="session")
def bars(make_bars) -> pl.DataFrame:
    year = (date(2020, 1, 2), date(2020, 12, 31))
    return make_bars({ticker: year for ticker in ("AAA", "BBB", "CCC")})

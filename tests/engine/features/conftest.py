from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import polars as pl
import pytest

from engine.calendar import TradingCalendar
from engine.data import Market
from engine.data.contract import BARS


@pytest.fixture(scope="session")
def nyse() -> TradingCalendar:
    return TradingCalendar("XNYS")


@pytest.fixture(scope="session")
def market_of(nyse) -> Callable[..., Market]:
    """A market of hand-written closes.

    `closes` maps a ticker to its closes on consecutive sessions (None: no bar that session).
    Opens are 1 below the close unless given alike. `benchmark` is (open, close) a session.
    """

    def build(
        closes: dict[str, list[float | None]],
        *,
        opens: dict[str, list[float | None]] | None = None,
        factors: dict[str, list[float]] | None = None,
        benchmark: list[tuple[float | None, float] | None] | None = None,
        volatility_index: list[float | None] | None = None,
        start: date = date(2018, 1, 2),
        calendar: TradingCalendar = nyse,
    ) -> Market:
        days = [start, *calendar.future(start, 2000)]
        rows = []
        for ticker, values in sorted(closes.items()):
            for i, close in enumerate(values):
                if close is None:
                    continue
                given = opens.get(ticker) if opens else None
                opened = close - 1 if given is None else given[i]
                factor = factors[ticker][i] if factors and ticker in factors else 1.0
                high, low = max(opened, close), min(opened, close)
                rows.append((days[i], ticker, opened, high, low, close, 1.0, close, factor))
        index = None
        if benchmark is not None:
            quotes = [(days[i], *quote) for i, quote in enumerate(benchmark) if quote is not None]
            schema = {"date": pl.Date, "open": pl.Float64, "close": pl.Float64}
            index = pl.DataFrame(quotes, schema=schema, orient="row")
        vol = None
        if volatility_index is not None:
            values = [(days[i], v) for i, v in enumerate(volatility_index) if v is not None]
            vol = pl.DataFrame(values, schema={"date": pl.Date, "close": pl.Float64}, orient="row")
        return Market(
            bars=pl.DataFrame(rows, schema=dict(BARS), orient="row"),
            benchmark=index,
            volatility_index=vol,
            calendar=calendar,
            quarantine=pl.DataFrame(),
            drops={},
            data_hash="",
        )

    return build


def walk(seed: int, n: int, *, scale: float = 0.02) -> list[float]:
    """A geometric random walk from 100."""
    steps = np.random.default_rng(seed).normal(0, scale, n)
    return (100 * np.exp(np.cumsum(steps))).tolist()


@pytest.fixture(scope="session")
def random_market(market_of) -> Market:
    """Three tickers of 600 sessions with one late listing, a benchmark and a volatility index."""
    late = [None] * 300 + walk(2, 300)
    gaps = [None if i % 97 == 5 else close for i, close in enumerate(walk(3, 600))]
    return market_of(
        {"A": walk(1, 600), "B": late, "C": gaps},
        benchmark=[(close * 0.99, close) for close in walk(4, 600, scale=0.01)],
        volatility_index=[10 + close / 10 for close in walk(5, 600, scale=0.05)],
    )


@pytest.fixture(scope="session")
def with_noise_after() -> Callable[[Market, date], Market]:
    """The market with every later price, volume and factor replaced by noise."""

    def build(market: Market, cut: date) -> Market:
        rng = np.random.default_rng(7)

        def spoil(frame: pl.DataFrame | None) -> pl.DataFrame | None:
            if frame is None:
                return None
            late = pl.col("date") > cut
            numbers = [name for name, dtype in frame.schema.items() if dtype == pl.Float64]
            return frame.with_columns(
                pl.when(late)
                .then(pl.Series(rng.uniform(0.1, 1e6, frame.height)))
                .otherwise(name)
                .alias(name)
                for name in numbers
            )

        return Market(
            bars=spoil(market.bars),
            benchmark=spoil(market.benchmark),
            volatility_index=spoil(market.volatility_index),
            calendar=market.calendar,
            quarantine=market.quarantine,
            drops=market.drops,
            data_hash="",
        )

    return build

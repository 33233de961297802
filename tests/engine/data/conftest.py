from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from places import DATA

from engine.calendar import TradingCalendar
from engine.config.data import DataSettings

DATA = DATA / "bars"


@pytest.fixture(scope="session")
def nyse() -> TradingCalendar:
    return TradingCalendar("XNYS")


@pytest.fixture
def data_folder() -> Path:
    return DATA


@pytest.fixture
def request_of() -> Callable[..., DataSettings]:
    """The section `data`, null unless given."""

    def build(source: str = "embedded", path: Path | str | None = None, **given) -> DataSettings:
        return DataSettings.model_validate({"source": source, "path": path, **given})

    return build


@pytest.fixture
def rows_of(nyse) -> Callable[..., pl.DataFrame]:
    """Plain good bars: tickers times consecutive sessions from 2018-01-02."""

    def build(*tickers: str, sessions: int = 3) -> pl.DataFrame:
        days = nyse.sessions(date(2018, 1, 1), date(2018, 12, 31))[:sessions]
        return pl.DataFrame(
            [
                {
                    "ticker": ticker,
                    "date": day,
                    "open": 10.0 + i,
                    "high": 12.0 + i,
                    "low": 9.0 + i,
                    "close": 11.0 + i,
                    "volume": 100.0 * (i + 1),
                }
                for ticker in tickers
                for i, day in enumerate(days)
            ]
        )

    return build

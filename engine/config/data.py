"""Settings of the bars: the section `data`."""

from __future__ import annotations

import zoneinfo
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from engine.config.section import Count, Positive, Section, Share
from engine.errors import nearest

__all__ = ["ColumnSettings", "DataSettings", "LatestSettings", "SimulatedSettings"]


class SimulatedSettings(Section):
    """What market is simulated; the same settings give the same bars.

    A ticker's bars depend on `seed`, its own number and the settings of the market, never on
    `n_tickers` or `end`: a longer simulation begins with the shorter one.
    """

    n_tickers: Annotated[int, Field(ge=1, le=1_000_000)] = 120
    start: date = date(2010, 1, 4)
    end: date = date(2019, 12, 31)
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    sectors: Annotated[int, Field(ge=1, le=100)] = 10
    listed_at_start: Share = 0.85
    endings_per_year: Annotated[float, Field(ge=0, le=5)] = 0.03
    halts_per_year: Annotated[float, Field(ge=0, le=20)] = 0.1
    dividend_payers: Share = 0.6
    rank_ic: Annotated[float, Field(gt=-0.7, lt=0.7)] = 0.0
    horizon: Annotated[int, Field(ge=1, le=252)] = 20
    half_life: Annotated[float, Field(gt=0, le=2520)] = 60.0

    @model_validator(mode="after")
    def _ordered(self) -> SimulatedSettings:
        if self.start > self.end:
            raise ValueError(
                f"data.simulated.start {self.start} is after data.simulated.end {self.end}"
            )
        return self


class LatestSettings(Section):
    """Which quotes may complete today's bar (`engine.signals.latest.add_latest`)."""

    max_age_s: Positive = 60.0
    max_spread: Positive = 0.02
    max_move: Positive = 0.3


class ColumnSettings(Section):
    """What a file calls the columns of its bars; null: by the name of the contract."""

    ticker: str | None = None
    date: str | None = None
    ts: str | None = None
    open: str | None = None
    high: str | None = None
    low: str | None = None
    close: str | None = None
    volume: str | None = None
    amount: str | None = None
    adj_factor: str | None = None


class DataSettings(Section):
    """The bars and the series they are compared with."""

    source: Literal["embedded", "parquet", "csv", "duckdb", "yfinance", "alpaca", "simulated"] = (
        "embedded"
    )
    path: Path | None = None
    store: Path | None = None
    bar: Annotated[str, Field(pattern=r"^(1d|\d{1,4}m)$")] | None = None
    columns: ColumnSettings = ColumnSettings()
    timezone: str | None = None
    simulated: SimulatedSettings = SimulatedSettings()
    add_latest: bool | None = None
    latest: LatestSettings = LatestSettings()
    universe: list[str] | None = None
    max_tickers: Count | None = None
    benchmark: str | None = None
    volatility_index: str | None = None
    sectors: Path | None = None
    start: date | None = None
    end: date | None = None
    calendar: str = "XNYS"

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        if name is not None and name not in (known := zoneinfo.available_timezones()):
            raise ValueError(f"unknown time zone {name!r}; the nearest is {nearest(name, known)!r}")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> DataSettings:
        if self.source in ("parquet", "csv") and self.path is None:
            raise ValueError(f"data.path is required with data.source {self.source}")
        if self.source == "duckdb" and self.store is None:
            raise ValueError("data.store is required with data.source duckdb: the store's file")
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"data.start {self.start} is after data.end {self.end}")
        return self

"""The simulated market as a source of bars."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

import polars as pl

from engine.calendar import TradingCalendar
from engine.config.data import SimulatedSettings
from engine.data.contract import conform
from engine.data.simulated import INDEX, VOLATILITY, Simulation
from engine.data.source import MEMBERS, SourceData, within

__all__ = ["SimulatedSource"]


class SimulatedSource:
    """Bars that a seed makes up: tickers S0000 …, the index SIMINDEX, its volatility SIMVOL.

    Prices are as traded, with adj_factor for splits and dividends.
    """

    name = "simulated"

    def __init__(self, settings: SimulatedSettings, calendar: TradingCalendar) -> None:
        self._simulation = Simulation(settings, calendar)

    def fetch(
        self,
        tickers: Collection[str] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> SourceData:
        """Bars, series, actions and listings from `start` to `end`; the same whichever part."""
        market = self._simulation.run(tickers)
        indices = {INDEX: market.index, VOLATILITY: market.volatility_index}
        listed = market.listings.select("ticker", pl.col("listed").alias("from"))
        members = listed.with_columns(market.listings["last"].alias("to")).cast(MEMBERS)
        return SourceData(
            bars=self._part(market.bars, start, end),
            series={name: self._part(rows, start, end, name) for name, rows in indices.items()},
            actions=within(market.actions.lazy(), tickers=None, start=start, end=end).collect(),
            members=members,
        )

    def tickers(self) -> list[str]:
        """Every ticker, also those listed only after the end."""
        return self._simulation.tickers

    def span(self) -> tuple[date, date] | None:
        """First and last session."""
        days = self._simulation.sessions
        return (days[0], days[-1]) if days else None

    def _part(
        self, bars: pl.DataFrame, start: date | None, end: date | None, ticker: str | None = None
    ) -> pl.DataFrame:
        rows = conform(bars.lazy(), source=self.name, ticker=ticker)
        return within(rows, tickers=None, start=start, end=end).collect()

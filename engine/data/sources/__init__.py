"""Where bars come from: one module a source; the simulated market and the store lie beside it."""

from __future__ import annotations

from engine.calendar import TradingCalendar
from engine.config.data import DataSettings
from engine.data.source import Source
from engine.data.sources.embedded import EmbeddedSource
from engine.data.sources.files import FileSource
from engine.data.store.reader import PriceStore

__all__ = ["EmbeddedSource", "FileSource", "open_source"]


def open_source(data: DataSettings, calendar: TradingCalendar) -> Source:
    """The source that `data.source` names.

    Parameters
    ----------
    data
        The section `data`.
    calendar
        The exchange; its zone is that of times which are written without one, unless
        `data.timezone` names another.

    Raises
    ------
    UsageError
        There is nothing at `data.path` or `data.store`, or the source's package is not installed.
    """
    zone = data.timezone or calendar.zone
    match data.source:
        case "embedded":
            return EmbeddedSource()
        case "simulated":
            # SciPy's filters take a while to import: only for those who simulate.
            from engine.data.simulated import SimulatedSource

            return SimulatedSource(data.simulated, TradingCalendar(data.calendar))
        case "parquet" | "csv":
            columns = data.columns.model_dump(exclude_none=True)
            return FileSource(str(data.path), data.source, zone=zone, columns=columns)
        case "duckdb":
            return PriceStore.open(str(data.store), bar=data.bar, calendar=data.calendar)
        case "yfinance":
            from engine.data.sources.yahoo import YahooSource

            return YahooSource(bar=data.bar or "1d", zone=zone)
        case "alpaca":
            from engine.data.sources.alpaca import AlpacaSource

            return AlpacaSource(bar=data.bar or "1d", zone=zone)

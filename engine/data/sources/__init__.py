"""Where bars come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.calendar import TradingCalendar
from engine.config.data import SimulatedSettings
from engine.data.source import BatchSource, Source, SourceData
from engine.data.sources.embedded import EmbeddedSource
from engine.data.sources.files import FileSource
from engine.errors import UsageError

__all__ = ["BatchSource", "EmbeddedSource", "FileSource", "Source", "SourceData", "open_source"]


def open_source(
    kind: str,
    path: Path | str | None = None,
    *,
    zone: str = "UTC",
    columns: Mapping[str, str] | None = None,
    store: Path | str | None = None,
    bar: str | None = None,
    calendar: str = "",
    simulated: SimulatedSettings | None = None,
) -> Source:
    """The source named by `data.source`, reading `data.path` or `data.store` where it needs one.

    Parameters
    ----------
    zone
        Of the times of intraday bars in files that are written without one.
    columns
        `data.columns`: name of the contract → name in the files.
    store, bar, calendar
        `data.store`, the length of bars to read of it, and the calendar it must be of; also the
        calendar of a simulated market.
    simulated
        `data.simulated`.

    Raises
    ------
    UsageError
        The kind is unknown, it needs a path and has none, or its package is not installed.
    """
    match kind:
        case "embedded":
            return EmbeddedSource()
        case "simulated":
            # SciPy's filters take a while to import: only for those who simulate.
            from engine.data.sources.simulated import SimulatedSource

            return SimulatedSource(
                simulated or SimulatedSettings(), TradingCalendar(calendar or "XNYS")
            )
        case "parquet" | "csv":
            if path is None:
                raise UsageError(f"data.path is required with data.source {kind}")
            parquet = kind == "parquet"
            return FileSource(path, "parquet" if parquet else "csv", zone=zone, columns=columns)
        case "duckdb":
            if store is None:
                raise UsageError("data.store is required with data.source duckdb")
            from engine.data.sources.store import StoreSource

            return StoreSource(store, bar=bar, calendar=calendar)
        case "yfinance":
            from engine.data.sources.yahoo import YahooSource

            return YahooSource(bar=bar or "1d", zone=zone)
        case "alpaca":
            from engine.data.sources.alpaca import AlpacaSource

            return AlpacaSource(bar=bar or "1d", zone=zone)
    raise UsageError(
        f"data.source: unknown source {kind!r}; use embedded, parquet, csv, duckdb, yfinance, "
        "alpaca or simulated"
    )

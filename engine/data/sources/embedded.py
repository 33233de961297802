"""Real daily bars that come with the installed packages: no download, no key.

Stocks: AAPL, GOOG, IBM, MSFT (2000-03 to 2013-03, GOOG from 2004-08) and FB (from 2012-05) of
bokeh-sampledata. Open, high, low and close are as traded; `Adj Close` carries splits and dividends,
so adj_factor = Adj Close / Close. Volume counts shares as traded too: across the splits of AAPL
(2000-06-21, 2005-02-28) and MSFT (2003-02-18) its level follows the number of shares, and for AAPL
it is 1/56 and 1/28 of a split-adjusted record before and after 2005. On those three dates alone it
still counts old shares (half); the record is left as it is.

Indices, of `arch.data`: NASDAQ and SP500 (1999 to 2018, without dividends) and VIX (2014 to 2018).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from engine.data.contract import conform
from engine.data.source import SourceData, within
from engine.errors import UsageError

__all__ = ["EmbeddedSource"]

_STOCKS = ("bokeh_sampledata", "_data/stocks.csv.gz")
_SERIES = {
    "NASDAQ": ("arch", "data/nasdaq/nasdaq.csv.gz"),
    "SP500": ("arch", "data/sp500/sp500.csv.gz"),
    "VIX": ("arch", "data/vix/vix.csv.gz"),
}


class EmbeddedSource:
    """The packages' bars, and their indices as series."""

    name = "embedded"

    def fetch(
        self,
        tickers: Collection[str] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> SourceData:
        """Bars and series from `start` to `end`; a package whose file is missing raises."""
        bars = within(self._stocks(), tickers=tickers, start=start, end=end).collect()
        series = {
            name: within(rows, tickers=None, start=start, end=end).collect()
            for name in _SERIES
            if (rows := self._index(name)) is not None
        }
        return SourceData(bars=bars, series=series)

    def tickers(self) -> list[str]:
        """AAPL, FB, GOOG, IBM, MSFT."""
        return self._stocks().collect()["ticker"].unique().sort().to_list()

    def span(self) -> tuple[date, date] | None:
        """First and last date of the stocks."""
        return (
            self._stocks().select(a=pl.col("date").min(), b=pl.col("date").max()).collect().row(0)
        )

    def _stocks(self) -> pl.LazyFrame:
        path = _package_file(*_STOCKS)
        if path is None:
            raise UsageError("data.source embedded needs the package bokeh-sampledata: install it")
        rows = pl.read_csv(path).lazy()
        return conform(
            rows.rename(str.lower).with_columns(adj_factor=pl.col("adj close") / pl.col("close")),
            source=self.name,
        )

    def _index(self, name: str) -> pl.LazyFrame | None:
        path = _package_file(*_SERIES[name])
        if path is None:
            return None
        # Read as text: the VIX file writes "." on holidays.
        rows = pl.read_csv(path, infer_schema=False).lazy().rename(str.lower)
        rows = rows.with_columns(pl.col("date").str.to_date("%m/%d/%Y", strict=False))
        if "vix" in rows.collect_schema():
            value = pl.col("vix").cast(pl.Float64, strict=False)
            rows = rows.select("date", open=value, high=value, low=value, close=value)
        return conform(rows, source=self.name, ticker=name)


def _package_file(package: str, path: str) -> Path | None:
    """A data file inside an installed package, found without importing it (arch takes seconds)."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    files = [Path(folder) / path for folder in folders or []]
    return next((file for file in files if file.is_file()), None)

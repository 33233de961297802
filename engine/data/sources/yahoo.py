"""Bars of Yahoo Finance through yfinance (extra `yahoo`).

Yahoo's prices are adjusted for splits and not for dividends; `Adj Close` carries both, so
adj_factor = Adj Close / Close. Its splits are told as actions that are in the prices already.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from engine.data.contract import BARS, INTRADAY, conform
from engine.data.source import ACTIONS, SourceData
from engine.data.sources.layouts import rename_columns
from engine.data.sources.network import (
    Downloads,
    Found,
    Retries,
    Ticker,
    fetch_each,
)
from engine.errors import UsageError

__all__ = ["YahooSource"]

INTERVALS = ("1d", "1m", "2m", "5m", "15m", "30m", "60m", "90m")
_FIRST = date(1900, 1, 1)
_TIMEOUTS = (30 + n / 1000 for n in itertools.count())


class YahooSource(Found):
    """Daily or intraday bars of named tickers.

    Parameters
    ----------
    bar
        One of `INTERVALS`.
    zone
        The exchange's time zone, for the dates of daily bars.
    session
        An HTTP session for yfinance; None: its own.
    retries, downloads
        How requests are repeated, and where a broken download is kept.

    Raises
    ------
    UsageError
        yfinance is not installed, or it has no such bars.
    """

    name = "yfinance"

    def __init__(
        self,
        *,
        bar: str = "1d",
        zone: str = "America/New_York",
        session: Any = None,
        retries: Retries | None = None,
        downloads: Path | None = None,
    ) -> None:
        if bar not in INTERVALS:
            raise UsageError(f"data.bar: yfinance has no {bar} bars; use {', '.join(INTERVALS)}")
        self._yfinance = _yfinance()
        self._bar, self._zone, self._session = bar, zone, session
        self._retries = retries or Retries()
        self._downloads = downloads
        super().__init__()

    def fetch(
        self,
        tickers: Collection[str] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> SourceData:
        """Bars and actions of `tickers`; a ticker Yahoo does not know has none.

        Raises
        ------
        UsageError
            No tickers are named: Yahoo has no list of all.
        SourceUnavailableError
            Yahoo does not answer.
        """
        if tickers is None:
            raise UsageError("data.universe is required with data.source yfinance")
        names = list(dict.fromkeys(tickers))
        request = f"yfinance {self._bar} {start} {end} {date.today()}"
        parts = fetch_each(
            names,
            lambda ticker: self._ticker(ticker, start, end),
            name=self.name,
            downloads=Downloads(self._downloads, request),
        )
        return self._collect(parts)

    def _ticker(self, ticker: str, start: date | None, end: date | None) -> Ticker:
        from yfinance.exceptions import YFPricesMissingError, YFTzMissingError

        def ask(_: int) -> Any:
            when: dict[str, Any] = {"period": "max"}
            if start is not None or end is not None:
                # yfinance takes an end that is left out.
                after = None if end is None else end + timedelta(days=1)
                when = {"start": start or _FIRST, "end": after}
            # yfinance remembers answers by their arguments, bad ones too: each asks a bit longer.
            return self._yfinance.Ticker(ticker, session=self._session).history(
                **when, interval=self._bar, auto_adjust=False, actions=True, timeout=next(_TIMEOUTS)
            )

        try:
            rows = self._retries.call(ask, what=f"yfinance: {ticker}")
        except (YFPricesMissingError, YFTzMissingError):
            rows = None
        except Exception as error:
            if getattr(getattr(error, "response", None), "status_code", None) != 404:
                raise
            rows = None
        return self._converted(ticker, rows)

    def _converted(self, ticker: str, rows: Any) -> Ticker:
        schema = BARS if self._bar == "1d" else INTRADAY
        if rows is None or rows.empty:
            empty = pl.DataFrame(schema={**schema, "source": pl.String()})
            return Ticker(empty, pl.DataFrame(schema=ACTIONS))
        frame = pl.from_pandas(rows.reset_index())
        time = frame.columns[0]
        if self._bar == "1d":
            frame = frame.with_columns(pl.col(time).dt.date())
        bars = conform(
            rename_columns(
                frame.lazy(), {"date" if self._bar == "1d" else "ts": time}, source=self.name
            ),
            source=self.name,
            ticker=ticker,
            zone=self._zone,
        ).collect()
        day = pl.col(time) if self._bar == "1d" else pl.col(time).dt.date()
        actions = pl.concat(
            [
                frame.filter(pl.col(column) > 0).select(
                    ticker=pl.lit(ticker),
                    date=day,
                    kind=pl.lit(kind),
                    value=pl.col(column).cast(pl.Float64),
                    in_prices=pl.lit(True),
                )
                for column, kind in (("Stock Splits", "split"), ("Dividends", "dividend"))
                if column in frame.columns
            ]
            or [pl.DataFrame(schema=ACTIONS)]
        )
        return Ticker(bars, actions.cast(ACTIONS))


def _yfinance() -> Any:
    try:
        import yfinance
    except ImportError:
        raise UsageError(
            "data.source yfinance needs the package yfinance: "
            "pip install 'kronos-engine[yahoo]' -c constraints.txt"
        ) from None
    # Errors are to be seen here, not logged and turned into empty frames.
    yfinance.config.debug.hide_exceptions = False
    return yfinance

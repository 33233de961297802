"""Bars of Alpaca's market data through alpaca-py (extra `live`).

Bars are asked for as traded, and splits and dividends as corporate actions, so that the store
adjusts as of any date. Keys are read of APCA_API_KEY_ID and APCA_API_SECRET_KEY; APCA_API_DATA_URL
points at another server. A ticker with a slash (BTC/USD) is a coin.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from engine.alpaca_keys import read_keys
from engine.data.contract import BARS, INTRADAY, conform
from engine.data.source import ACTIONS, SourceData
from engine.data.sources.network import (
    Downloads,
    Found,
    Retries,
    Ticker,
    fetch_each,
)
from engine.errors import UsageError

__all__ = ["AlpacaSource"]

_FIRST = date(2016, 1, 1)
_COLUMNS = {"t": "time", "o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}


class AlpacaSource(Found):
    """Daily bars, or bars of 1 to 59 minutes, of named tickers.

    Parameters are those of `YahooSource`; `url` is another server than Alpaca's.

    Raises
    ------
    UsageError
        alpaca-py is not installed, a key is missing, or there are no such bars.
    """

    name = "alpaca"

    def __init__(
        self,
        *,
        bar: str = "1d",
        zone: str = "America/New_York",
        url: str | None = None,
        retries: Retries | None = None,
        downloads: Path | None = None,
    ) -> None:
        if bar != "1d" and not 1 <= int(bar[:-1]) <= 59:
            raise UsageError(f"data.bar: alpaca has no {bar} bars; use 1d, or 1m to 59m")
        self._keys = read_keys("data.source alpaca")
        self._bar, self._zone = bar, zone
        self._url = url or os.environ.get("APCA_API_DATA_URL")
        self._retries = retries or Retries(per_minute=180.0)
        self._downloads = downloads
        super().__init__()

    def fetch(
        self,
        tickers: Collection[str] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> SourceData:
        """Bars and actions of `tickers`; a ticker Alpaca does not know has none.

        Raises
        ------
        UsageError
            No tickers are named, or Alpaca refuses the request or the key.
        SourceUnavailableError
            Alpaca does not answer.
        """
        if tickers is None:
            raise UsageError("data.universe is required with data.source alpaca")
        request = f"alpaca {self._url} {self._bar} {start} {end} {date.today()}"
        parts = fetch_each(
            list(dict.fromkeys(tickers)),
            lambda ticker: self._ticker(ticker, start or _FIRST, end),
            name=self.name,
            downloads=Downloads(self._downloads, request),
        )
        return self._collect(parts)

    def _ticker(self, ticker: str, start: date, end: date | None) -> Ticker:
        from alpaca.common.exceptions import APIError

        coin = "/" in ticker
        try:
            rows = self._retries.call(
                lambda _: self._ask_bars(ticker, start, end, coin), what=f"alpaca: {ticker}"
            )
            actions = (
                {}
                if coin
                else self._retries.call(
                    lambda _: self._ask_actions(ticker, start, end), what=f"alpaca: {ticker}"
                )
            )
        except APIError as error:
            reason = self._keys.hide(" ".join(str(error).split()))[:200]
            raise UsageError(f"alpaca: {ticker}: refused ({reason})") from None
        return Ticker(self._bars(ticker, rows), _actions(ticker, actions))

    def _given(self) -> dict[str, Any]:
        return {**self._keys.arguments(), "raw_data": True, "url_override": self._url}

    def _ask_bars(self, ticker: str, start: date, end: date | None, coin: bool) -> list[dict]:
        from alpaca.data.enums import Adjustment
        from alpaca.data.historical import CryptoHistoricalDataClient, StockHistoricalDataClient
        from alpaca.data.requests import CryptoBarsRequest, StockBarsRequest
        from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

        step = (
            TimeFrame(1, TimeFrameUnit.Day)
            if self._bar == "1d"
            else TimeFrame(int(self._bar[:-1]), TimeFrameUnit.Minute)
        )
        when: dict[str, Any] = {
            "symbol_or_symbols": ticker,
            "timeframe": step,
            "start": _midnight(start),
            "end": None if end is None else _midnight(end + timedelta(days=1)),
        }
        given = self._given()
        if coin:
            answer = CryptoHistoricalDataClient(**given).get_crypto_bars(CryptoBarsRequest(**when))
        else:
            wanted = StockBarsRequest(**when, adjustment=Adjustment.RAW)
            answer = StockHistoricalDataClient(**given).get_stock_bars(wanted)
        return list(dict(answer).get(ticker) or [])

    def _ask_actions(self, ticker: str, start: date, end: date | None) -> dict[str, list[dict]]:
        from alpaca.data.historical.corporate_actions import CorporateActionsClient
        from alpaca.data.requests import CorporateActionsRequest

        client = CorporateActionsClient(**self._given())
        wanted = CorporateActionsRequest(symbols=[ticker], start=start, end=end)
        return dict(client.get_corporate_actions(wanted))

    def _bars(self, ticker: str, rows: list[dict]) -> pl.DataFrame:
        intraday = self._bar != "1d"
        if not rows:
            schema = pl.Schema({**(INTRADAY if intraday else BARS), "source": pl.String()})
            return pl.DataFrame(schema=schema)
        frame = pl.DataFrame(rows, infer_schema_length=None)
        amount = pl.col("v") * pl.col("vw") if "vw" in frame.columns else None
        frame = frame.select(
            *(pl.col(old).alias(new) for old, new in _COLUMNS.items()),
            amount=pl.lit(None, dtype=pl.Float64) if amount is None else amount,
        )
        time = pl.col("time").str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
        # A daily bar is stamped with its midnight in New York (coins: UTC).
        zone = "UTC" if "/" in ticker else "America/New_York"
        named = (
            frame.with_columns(ts=time)
            if intraday
            else frame.with_columns(date=time.dt.convert_time_zone(zone).dt.date())
        )
        rows_of = named.drop("time").lazy()
        return conform(rows_of, source=self.name, ticker=ticker, zone=self._zone).collect()


def _actions(ticker: str, answer: dict[str, list[dict]]) -> pl.DataFrame:
    """Splits as shares per old share and cash dividends per share, by their first date without."""
    found = []
    for kind in ("forward_splits", "reverse_splits"):
        for row in answer.get(kind) or []:
            ratio = float(row["new_rate"]) / float(row["old_rate"])
            found.append((ticker, row["ex_date"], "split", ratio, False))
    found += [
        (ticker, row["ex_date"], "split", 1.0 + float(row["rate"]), False)
        for row in answer.get("stock_dividends") or []
    ]
    found += [
        (ticker, row["ex_date"], "dividend", float(row["rate"]), False)
        for row in answer.get("cash_dividends") or []
    ]
    frame = pl.DataFrame(found, schema=pl.Schema({**ACTIONS, "date": pl.String()}), orient="row")
    return frame.with_columns(pl.col("date").str.to_date(strict=False)).cast(ACTIONS)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)

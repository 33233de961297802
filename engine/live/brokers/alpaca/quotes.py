"""Latest quotes of Alpaca's market data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from engine.config.live import AlpacaSettings
from engine.live.brokers.alpaca import answers as from_json
from engine.live.brokers.alpaca.calls import Calls, Keys, RefusedError, open_data
from engine.live.brokers.records import QUOTES

__all__ = ["AlpacaQuotes"]

_AT_ONCE = 100


class AlpacaQuotes:
    """A `QuoteSource` of the present; what it is asked for times gone by is of now."""

    replays = False

    def __init__(self, settings: AlpacaSettings, keys: Keys, calls: Calls | None = None) -> None:
        self._client = open_data(settings, keys)
        self._calls = calls or Calls(keys, settings.retries)
        self._feed = settings.feed

    def quotes(self, tickers: Sequence[str], now: datetime | None = None) -> pl.DataFrame:
        """`records.QUOTES`; a ticker that is not known, or has one side only, is left out.

        Raises
        ------
        BrokerDownError, BrokerError
            No answer, or the keys are refused.
        """
        wanted = sorted(set(tickers))
        rows: list[tuple[str, datetime, float, float]] = []
        for first in range(0, len(wanted), _AT_ONCE):
            for ticker, raw in sorted(self._latest(wanted[first : first + _AT_ONCE]).items()):
                found = from_json.read(f"quote of {ticker}", from_json.quote, raw)
                if found is not None:
                    rows.append((ticker, *found))
        return pl.DataFrame(rows, schema=QUOTES, orient="row")

    def close(self) -> None:
        """Let go of connections."""
        self._client._session.close()

    def _latest(self, tickers: list[str]) -> dict[str, Any]:
        from alpaca.data.enums import DataFeed
        from alpaca.data.requests import StockLatestQuoteRequest

        wanted = StockLatestQuoteRequest(symbol_or_symbols=tickers, feed=DataFeed(self._feed))
        try:
            answer = self._calls.ask("quotes", lambda: self._client.get_stock_latest_quote(wanted))
        except RefusedError as error:
            if error.status not in (400, 404, 422):
                raise
            if len(tickers) == 1:
                return {}
            # One symbol that Alpaca does not know refuses them all: halve until it is alone.
            middle = len(tickers) // 2
            return self._latest(tickers[:middle]) | self._latest(tickers[middle:])
        return {ticker: raw for ticker, raw in dict(answer).items() if raw}

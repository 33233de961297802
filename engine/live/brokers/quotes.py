"""Where quotes come from when the broker that holds the account has none of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import polars as pl

from engine.live.brokers.bar_book import Books
from engine.live.brokers.records import QUOTES

__all__ = ["DataQuotes", "QuoteSource"]


class QuoteSource(Protocol):
    """Quotes of many tickers."""

    @property
    def replays(self) -> bool:
        """Whether it knows the quotes of times gone by; otherwise only those of the present."""
        ...

    def quotes(self, tickers: Sequence[str], now: datetime) -> pl.DataFrame:
        """The newest quote at `now` of each ticker that has one: `records.QUOTES`, by ticker."""
        ...


class DataQuotes:
    """Quotes made of bars: the price of `BarBook`, with the same spread for every ticker.

    For replays and demonstrations. A ticker without a bar of the session has a quote of the time
    of its last bar, which a guard of stale quotes stops at.
    """

    replays = True

    def __init__(self, books: Books, *, half_spread_bps: float) -> None:
        self._books = books
        self._half = half_spread_bps / 1e4

    def quotes(self, tickers: Sequence[str], now: datetime) -> pl.DataFrame:
        """`records.QUOTES`, sorted by ticker."""
        book = self._books(now)
        known = [(ticker, book.price(ticker, now)) for ticker in sorted(set(tickers))]
        rows = [
            (ticker, price.ts, price.value * (1 - self._half), price.value * (1 + self._half))
            for ticker, price in known
            if price is not None
        ]
        return pl.DataFrame(rows, schema=QUOTES, orient="row")

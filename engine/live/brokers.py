"""The broker a configuration names."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import polars as pl

from backtest.costs import Costs
from engine.calendar import TradingCalendar
from engine.config.settings import Settings
from engine.data.market import load_market
from engine.live.alpaca import AlpacaBroker
from engine.live.alpaca_calls import Calls, read_keys
from engine.live.alpaca_quotes import AlpacaQuotes
from engine.live.bar_book import BarBook, Books
from engine.live.broker import Broker
from engine.live.clock import Clock
from engine.live.hours import Hours
from engine.live.paper import PaperBroker
from engine.live.quotes import DataQuotes, QuoteSource

__all__ = ["open_broker", "paper_file", "settings_books"]


def open_broker(
    settings: Settings,
    clock: Clock,
    *,
    bars: Callable[[], pl.DataFrame] | None = None,
    environ: Mapping[str, str] = os.environ,
    wait: Callable[[float], None] = time.sleep,
) -> Broker:
    """The broker of `live.broker`.

    Parameters
    ----------
    settings
        `live` and, for the paper broker, `costs`, `data` and `run.dir`.
    clock
        Whose time it is, also for the paper broker.
    bars
        For the paper broker: gives the newest bars as `Market.bars`, asked at every call (the same
        frame again costs nothing). None: `data` is read anew after each open and close.
    environ
        Where keys and switches are.
    wait
        Sleeps before a request to Alpaca is repeated.

    Raises
    ------
    UsageError
        A missing key or switch, or a file that is no paper account.
    """
    live = settings.live
    if live.broker == "alpaca":
        return AlpacaBroker(live.alpaca, environ=environ, wait=wait)
    books = settings_books(settings, bars)
    quotes: QuoteSource
    if live.paper.quotes == "alpaca":
        keys = read_keys(environ)
        quotes = AlpacaQuotes(live.alpaca, keys, Calls(keys, live.alpaca.retries, wait))
    else:
        quotes = DataQuotes(books, half_spread_bps=live.paper.half_spread_bps)
    return PaperBroker(
        paper_file(settings),
        clock,
        quotes,
        Costs(**settings.costs.model_dump()),
        TradingCalendar(settings.data.calendar),
        cash=live.paper.cash,
        books=books,
    )


def paper_file(settings: Settings) -> Path:
    """Where the paper account lies: beside `live.state`, or in the run folder."""
    run, state = settings.run, settings.live.state
    return (run.dir / run.name if state is None else state.parent) / "paper.sqlite"


def settings_books(settings: Settings, bars: Callable[[], pl.DataFrame] | None = None) -> Books:
    """The bars of a configuration, read when they are first needed."""
    calendar = TradingCalendar(settings.data.calendar)
    hours = Hours(calendar)
    kept: dict[str, object] = {}
    book: list[BarBook] = []

    def newest(now: datetime) -> pl.DataFrame:
        if bars is not None:
            return bars()
        begun = hours.begun(now)
        bell = (begun, begun is not None and now >= begun.close)
        if kept.get("bell") != bell:
            kept["bell"] = bell
            kept["bars"] = load_market(settings.data, now=now, keep_partial=True).bars
        frame = kept["bars"]
        assert isinstance(frame, pl.DataFrame)
        return frame

    def books(now: datetime) -> BarBook:
        frame = newest(now)
        if kept.get("booked") is not frame:
            kept["booked"] = frame
            book[:] = [BarBook(frame, calendar)]
        return book[0]

    return books

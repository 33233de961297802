"""The broker a configuration names."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path

import polars as pl

from backtest.costs import Costs
from engine.calendar import TradingCalendar
from engine.config.settings import Settings
from engine.data.market import load_market
from engine.live.brokers.alpaca.broker import AlpacaBroker
from engine.live.brokers.alpaca.calls import Calls, read_keys
from engine.live.brokers.alpaca.quotes import AlpacaQuotes
from engine.live.brokers.bar_book import BarBook, Books
from engine.live.brokers.broker import Broker
from engine.live.brokers.paper.broker import PaperBroker
from engine.live.brokers.quotes import DataQuotes, QuoteSource
from engine.live.clock import Clock
from engine.live.hours import Hours

__all__ = ["open_broker", "paper_file", "settings_books"]

# How long bars that are late are not asked for again.
_PATIENCE_S = 600.0


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
    state = settings.live.state
    folder = settings.run.dir / settings.run.name if state is None else state.parent
    return folder / "paper.sqlite"


def settings_books(settings: Settings, bars: Callable[[], pl.DataFrame] | None = None) -> Books:
    """The bars of a configuration, read when they are first needed, and anew when there may be
    more of them: after an open or a close, and every few minutes while the last session lacks."""
    calendar = TradingCalendar(settings.data.calendar)
    if bars is None:
        return _Booker(_Reader(settings, Hours(calendar)).bars, calendar).book
    given = bars
    return _Booker(lambda now: given(), calendar).book


class _Booker:
    """One book a frame."""

    def __init__(self, bars: Callable[[datetime], pl.DataFrame], calendar: TradingCalendar) -> None:
        self._bars, self._calendar = bars, calendar
        self._booked: tuple[pl.DataFrame, BarBook] | None = None

    def book(self, now: datetime) -> BarBook:
        frame = self._bars(now)
        if self._booked is None or self._booked[0] is not frame:
            self._booked = frame, BarBook(frame, self._calendar)
        return self._booked[1]


class _Reader:
    """Reads `data` when it may have grown."""

    def __init__(self, settings: Settings, hours: Hours) -> None:
        self._settings, self._hours = settings, hours
        self._frame: pl.DataFrame | None = None
        self._read_at: object = None

    def bars(self, now: datetime) -> pl.DataFrame:
        if self._frame is None or self._stage(self._frame, now) != self._read_at:
            self._frame = load_market(self._settings.data, now=now, keep_partial=True).bars
            self._read_at = self._stage(self._frame, now)
        return self._frame

    def _stage(self, frame: pl.DataFrame, now: datetime) -> object:
        """What changes when there may be bars that `frame` lacks."""
        session, last = self._hours.begun(now), frame["date"].max()
        if session is None or not isinstance(last, date) or last > session.date:
            return None  # a replay: what is to come is there already
        late = now.timestamp() // _PATIENCE_S if last < session.date else None
        return session.date, now >= session.close, late

"""Brokers behind one interface, paper and Alpaca; `open_broker` loads and opens the one named."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from backtest.costs import Costs
from engine.alpaca_keys import read_keys
from engine.calendar import TradingCalendar
from engine.config.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from engine.live.brokers.broker import Broker
    from engine.live.brokers.paper.broker import QuoteSource
    from engine.live.clock import Clock

__all__ = ["open_broker"]


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
        from engine.live.brokers.alpaca.broker import AlpacaBroker

        return AlpacaBroker(live.alpaca, environ=environ, wait=wait)
    from engine.live.brokers.bar_book import DataQuotes, settings_books
    from engine.live.brokers.paper.broker import PaperBroker

    books = settings_books(settings, bars)
    quotes: QuoteSource
    if live.paper.quotes == "alpaca":
        from engine.live.brokers.alpaca.broker import AlpacaQuotes
        from engine.live.brokers.alpaca.calls import Calls

        keys = read_keys("live.broker alpaca", environ)
        quotes = AlpacaQuotes(live.alpaca, keys, Calls(keys, live.alpaca.retries, wait))
    else:
        quotes = DataQuotes(books, half_spread_bps=live.paper.half_spread_bps)
    return PaperBroker(
        _paper_file(settings),
        clock,
        quotes,
        Costs(**settings.costs.model_dump()),
        TradingCalendar(settings.data.calendar),
        cash=live.paper.cash,
        books=books,
    )


def _paper_file(settings: Settings) -> Path:
    """Where the paper account lies: beside `live.state`, or in the run folder."""
    state = settings.live.state
    folder = settings.run.dir / settings.run.name if state is None else state.parent
    return folder / "paper.sqlite"

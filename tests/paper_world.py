"""A paper account on random bars, in a replay's time."""

from __future__ import annotations

import sqlite3
from datetime import date, datetime
from pathlib import Path

import polars as pl
from alpaca_stand_in import CALENDAR, DAYS, make_bars, opening

from backtest.costs import Costs, trade_cost_bps
from engine.live.brokers.bar_book import BarBook, DataQuotes, fixed_book
from engine.live.brokers.paper.broker import PaperBroker
from engine.live.clock import FileClock

COSTS = Costs(round_trip_bps=10, impact_coefficient=50, borrow_bps_per_year=50, aum=1e6)
HALF_BPS = 2.0


BARS = make_bars()
BOOK = fixed_book(BarBook(BARS, CALENDAR))


def bar(ticker: str, day: date, bars: pl.DataFrame = BARS) -> dict[str, float]:
    return bars.row(by_predicate=(pl.col("ticker") == ticker) & (pl.col("date") == day), named=True)


class World:
    """A paper account of a folder, in a replay's time."""

    def __init__(
        self, folder: Path, bars: pl.DataFrame = BARS, start: datetime | None = None, **changes
    ) -> None:
        self.folder = folder
        self.clock = FileClock(folder / "now.txt", start or opening(DAYS[30]))
        self.books = BOOK if bars is BARS else fixed_book(BarBook(bars, CALENDAR))
        self.given = {"cash": 1e6, "costs": COSTS, **changes}
        self.broker = self.open()

    def open(self, connect=sqlite3.connect) -> PaperBroker:
        return PaperBroker(
            self.folder / "paper.sqlite",
            self.clock,
            DataQuotes(self.books, half_spread_bps=HALF_BPS),
            self.given["costs"],
            CALENDAR,
            cash=self.given["cash"],
            books=self.books,
            connect=connect,
        )


def expected_fees(mid: float, quantity: float, adv: float, costs: Costs = COSTS) -> float:
    value = mid * quantity
    return value * max(0.0, float(trade_cost_bps(value, adv, costs)) - HALF_BPS) / 1e4


def adv(ticker: str, day: date) -> float:
    before = BARS.filter((pl.col("ticker") == ticker) & (pl.col("date") < day)).tail(20)
    return float(before["amount"].mean())

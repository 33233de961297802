"""The stand-in for Alpaca with random bars, and a broker that speaks to it through alpaca-py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl

from engine.bench.private.fake_account import FakeAccount
from engine.bench.private.fake_alpaca import FakeAlpaca
from engine.bench.private.fake_faults import Fault, Faults
from engine.calendar import TradingCalendar
from engine.config.live import AlpacaSettings
from engine.live.brokers.alpaca.broker import AlpacaBroker
from engine.live.brokers.bar_book import BarBook, fixed_book
from engine.live.brokers.broker import Order
from engine.live.clock import FileClock

__all__ = ["BUY", "CALENDAR", "DAYS", "KEYS", "Side", "closing", "make_bars", "opening", "play"]

CALENDAR = TradingCalendar("XNYS")
DAYS = CALENDAR.sessions(date(2024, 1, 2), date(2024, 3, 28))
KEYS = {"APCA_API_KEY_ID": "PKCANARY0KEY0ID", "APCA_API_SECRET_KEY": "canary/secret+0123456789"}
BUY = Order("day-1-A-buy", "A", "buy", 100)


def make_bars(tickers: str = "AB", seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frames = []
    for ticker in tickers:
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, len(DAYS))))
        frames.append(
            pl.DataFrame(
                {
                    "date": DAYS,
                    "ticker": [ticker] * len(DAYS),
                    "open": close * np.exp(rng.normal(0, 0.005, len(DAYS))),
                    "close": close,
                    "amount": rng.uniform(1e6, 2e6, len(DAYS)),
                    "adj_factor": np.ones(len(DAYS)),
                }
            )
        )
    return pl.concat(frames)


def opening(day: date) -> datetime:
    return CALENDAR.schedule(day, day)["open"].item()


def closing(day: date) -> datetime:
    return CALENDAR.schedule(day, day)["close"].item()


@dataclass
class Side:
    """A running server, the replay's clock, and how long the client was told to wait."""

    server: FakeAlpaca
    clock: FileClock
    waited: list[float] = field(default_factory=list)

    def broker(self, *, environ: dict[str, str] = KEYS, **changes) -> AlpacaBroker:
        settings = AlpacaSettings(
            **{"url": self.server.url, "data_url": self.server.url, "timeout_s": 5.0, **changes}
        )
        return AlpacaBroker(settings, environ=environ, wait=self.waited.append)

    def faults(self, *faults: Fault) -> None:
        self.server.faults.script.extend(faults)

    @property
    def sent(self) -> list[str]:
        return [post["client_order_id"] for post in self.server.posts]


@contextmanager
def play(
    folder: Path,
    *,
    bars: pl.DataFrame | None = None,
    start: datetime | None = None,
    faults: Faults | None = None,
    hang_s: float = 1.0,
    **account,
) -> Iterator[Side]:
    clock = FileClock(folder / "now.txt", start or opening(DAYS[30]))
    book = BarBook(make_bars() if bars is None else bars, CALENDAR)
    fake = FakeAccount(clock=clock, books=fixed_book(book), calendar=CALENDAR, **account)
    keys = (KEYS["APCA_API_KEY_ID"], KEYS["APCA_API_SECRET_KEY"])
    with FakeAlpaca(fake, faults, keys=keys, hang_s=hang_s) as server:
        yield Side(server, clock)

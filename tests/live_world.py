"""A small market on disk and a live loop over it, with a desk in memory for a broker."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from live_desk import Desk, StepClock
from rich.console import Console

from engine.calendar import TradingCalendar
from engine.config import load_settings
from engine.live.context import Context
from engine.live.control import Control
from engine.live.hours import Hours
from engine.live.loop import Loop
from engine.live.monitor import Monitor
from engine.live.schedule import Agenda
from engine.live.state import LiveState

TICKERS = [f"T{n}" for n in range(8)]
FIRST, LAST = date(2024, 1, 2), date(2024, 6, 28)
# A Tuesday after a Monday, both sessions; the Friday before them ends a week.
SESSION = date(2024, 6, 4)


def make_bars(calendar="XNYS", first=FIRST, last=LAST):
    """Random bars of eight names and a benchmark."""
    days = TradingCalendar(calendar).sessions(first, last)
    frames = []
    for number, ticker in enumerate([*TICKERS, "INDEX"]):
        rng = np.random.default_rng([11, number])
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, len(days))))
        opening = close * np.exp(rng.normal(0, 0.003, len(days)))
        frames.append(
            pl.DataFrame({"date": days, "open": opening, "close": close}).with_columns(
                ticker=pl.lit(ticker),
                high=pl.max_horizontal("open", "close") * 1.001,
                low=pl.min_horizontal("open", "close") * 0.999,
                volume=pl.lit(1e6),
            )
        )
    return pl.concat(frames)


def settings(folder, data, **flags):
    """The live configuration over the small market, momentum for a forecaster."""
    chosen = {
        "run.dir": str(folder / "runs"),
        "data.source": "parquet",
        "data.path": str(data),
        "data.benchmark": "INDEX",
        "model.name": "momentum",
        "scoring.lookback": "32",
        "scoring.horizons": "[5]",
        "scoring.rebalance": "daily",
        "features": "[]",
        "strategy.quantile": "0.25",
        "live.schedule.fill_timeout_s": "30",
        **flags,
    }
    return load_settings(chosen, config="live.yaml", environment={})


class World:
    """A loop's context: what is decided is real, the broker is a desk.

    `at` sets the clock; `slot` finds a phase of a session; `loop` is the loop itself.
    """

    def __init__(self, folder: Path, data: Path, *, send=True, webhook=None, **flags):
        self.settings = settings(folder, data, **flags)
        self.bars = pl.read_parquet(data)
        self.calendar = TradingCalendar(self.settings.data.calendar)
        self.clock = StepClock(datetime(2024, 6, 3, 20, 30, tzinfo=UTC))
        self.desk = Desk(self.clock)
        self.desk.prices = self.opens(SESSION)
        self.state = LiveState(Path(":memory:"))
        self.folder = folder
        self.control = Control(folder)
        self.said = io.StringIO()
        console = Console(file=self.said, width=200)
        self.monitor = Monitor(console, self.clock, folder, webhook)
        self.agenda = Agenda(Hours(self.calendar), self.settings.live.schedule)
        self.context = Context(
            settings=self.settings,
            calendar=self.calendar,
            broker=self.desk,
            state=self.state,
            clock=self.clock,
            control=self.control,
            monitor=self.monitor,
            console=console,
            folder=folder,
            send=send,
        )
        self.loop = Loop(self.context, self.agenda, None)

    def opens(self, day):
        rows = self.bars.filter(pl.col("date") == day)
        return dict(zip(rows["ticker"], rows["open"], strict=True))

    def slot(self, phase, day=SESSION):
        return next(s for s in self.agenda.slots(self.agenda.of(day)) if s.phase == phase)

    def do(self, phase, day=SESSION):
        """Run one phase when it is due; returns how it ended."""
        slot = self.slot(phase, day)
        self.clock.wait_until(slot.due)
        self.loop._do(slot)
        return self.mark(phase, day)

    def mark(self, phase, day=SESSION):
        return self.state.cycles.marks(day)[phase].status

    def guards(self, day=SESSION):
        return {event.guard for _, event in self.state.cycles.guards(day)}

    def orders(self):
        return [(o.side, o.quantity, o.ticker) for o in self.desk.submitted]


MINUTE = timedelta(minutes=1)

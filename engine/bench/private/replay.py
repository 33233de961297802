"""A live loop over replayed sessions, left alone or killed at random moments.

1. `World` prepares the bars: real ones, of which one session is taken away, so that guards trip.
2. `Replay` runs the command `engine.live --replay` in parts; before the second a person halts it,
   before the third resumes. With a `Killer` it is a process of its own, which may be ended at any
   moment, and is started again.
3. `Outcome` is what remains: positions, cash, orders, and what must not be among them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

import polars as pl

from engine.bench.private.fake_account import FakeAccount
from engine.bench.private.fake_alpaca import FakeAlpaca
from engine.bench.private.fake_faults import Faults
from engine.bench.private.killer import Killer
from engine.calendar import TradingCalendar
from engine.config import Settings, load_settings
from engine.files import write_frame
from engine.live.__main__ import main
from engine.live.brokers import open_broker
from engine.live.brokers.bar_book import BarBook, fixed_book
from engine.live.clock import FileClock
from engine.live.control import Control
from engine.live.hours import Hours
from engine.live.schedule import Agenda
from engine.live.start import CLOCK, state_file
from engine.live.state import LiveState, open_state

__all__ = ["SHORTEST", "Outcome", "Replay", "World"]

CALENDAR = "XNYS"
SHORTEST = 12
CANARY_KEYS = {"APCA_API_KEY_ID": "CANARY-KEY-ID", "APCA_API_SECRET_KEY": "CANARY-SECRET"}


@dataclass(frozen=True)
class World:
    """Bars on disk, and the sessions to replay.

    Attributes
    ----------
    path
        Parquet as `Market.bars`, without the session `missing`.
    sessions
        To trade, in order; the last bars are of the last of them.
    missing
        The session without bars: nothing can be traded in it nor decided on it.
    halt, resume
        A person halts trading before the first and resumes before the second; None in short
        replays.
    """

    path: Path
    sessions: list[date]
    missing: date
    halt: date | None
    resume: date | None

    @classmethod
    def make(cls, path: Path, bars: pl.DataFrame, sessions: int) -> World:
        """The last `sessions` sessions of `bars`."""
        calendar = TradingCalendar(CALENDAR)
        last = bars["date"].max()
        assert isinstance(last, date)
        days = calendar.sessions(calendar.offset(last, 1 - sessions), last)
        missing = days[2 * sessions // 3]
        write_frame(path, bars.filter(pl.col("date") != missing))
        third = sessions // 3
        if sessions < SHORTEST:
            return cls(path, days, missing, None, None)
        return cls(path, days, missing, days[third], days[third + max(1, sessions // 20)])

    def parts(self) -> list[tuple[str | None, date]]:
        """(command before it, last session) of each part of a replay."""
        if self.halt is None or self.resume is None:
            return [(None, self.sessions[-1])]
        before = {day: self.sessions[at - 1] for at, day in enumerate(self.sessions)}
        return [
            (None, before[self.halt]),
            ("halt", before[self.resume]),
            ("resume", self.sessions[-1]),
        ]


@dataclass(frozen=True)
class Outcome:
    """What a replay left.

    Attributes
    ----------
    positions, cash
        At the broker.
    state_positions
        In the state.
    orders
        (session, ticker, side, quantity, leg, attempt, status, filled) of the state.
    broker_orders
        Client ids that the broker took, with the shares it filled of each.
    halted
        Sessions in which a guard stopped trading.
    doubled
        Orders the broker filled more of than was planned, and those it was not to get.
    while_halted
        Orders that the broker took in a session with trading halted.
    faults
        What went wrong on the way, by kind.
    secrets
        Files with a key in them.
    seconds, kills
        How long it took, how often it was killed.
    """

    positions: dict[str, float]
    cash: float
    state_positions: dict[str, float]
    orders: list[tuple[Any, ...]]
    broker_orders: dict[str, float]
    halted: list[date]
    doubled: list[str]
    while_halted: list[str]
    faults: dict[str, int]
    secrets: list[str]
    seconds: float
    kills: int


@dataclass(frozen=True)
class Replay:
    """One run of the loop in `folder` at the broker `broker` (paper or alpaca)."""

    world: World
    folder: Path
    broker: str
    faults: Faults = field(default_factory=Faults)
    seed: int = 0

    def run(self, killer: Killer | None = None) -> Outcome:
        """Replay every session. Raises RuntimeError when the loop fails by itself."""
        started = time.perf_counter()
        run = self.folder / "live"
        clock = self._clock(run)
        with self._server(clock) as server:
            settings = self._settings(server)
            for command, last in self.world.parts():
                self._command(run, command)
                self._part(settings, last, killer)
            return self._outcome(settings, clock, server, time.perf_counter() - started, killer)

    def _clock(self, run: Path) -> FileClock:
        agenda = Agenda(Hours(TradingCalendar(CALENDAR)), Settings().live.schedule)
        first = agenda.slots(agenda.of(self.world.sessions[0]))[0].due
        return FileClock(run / CLOCK, first)

    @contextlib.contextmanager
    def _server(self, clock: FileClock) -> Iterator[FakeAlpaca | None]:
        if self.broker == "paper":
            yield None
            return
        calendar = TradingCalendar(CALENDAR)
        book = BarBook(pl.read_parquet(self.world.path), calendar)
        account = FakeAccount(
            clock, fixed_book(book), calendar, parts=3, reject=0.05, seed=self.seed
        )
        with FakeAlpaca(account, self.faults, hang_s=4.0) as server:
            yield server

    def _settings(self, server: FakeAlpaca | None) -> dict[str, str]:
        chosen = {
            "run.dir": str(self.folder),
            "run.name": "live",
            "data.source": "parquet",
            "data.path": str(self.world.path),
            "data.benchmark": "null",
            "data.calendar": CALENDAR,
            "model.name": "momentum",
            "scoring.lookback": "64",
            "scoring.horizons": "[5]",
            "scoring.rebalance": "daily",
            "scoring.cache": "off",
            "features": "[]",
            "strategy.name": "long_short_quantile",
            "strategy.quantile": "0.4",
            "evaluation.min_cross_section": "4",
            "live.broker": self.broker,
            "live.guards.max_daily_loss": "1.0",
            "live.guards.max_drawdown": "1.0",
            "live.guards.max_name_weight": "0.5",
        }
        if server is not None:
            # Without the adapter's own pauses: the loop's waiting takes no time in a replay.
            chosen |= {
                "live.alpaca.url": server.url,
                "live.alpaca.data_url": server.url,
                "live.alpaca.retries": "0",
                "live.alpaca.timeout_s": "3",
            }
        return chosen

    def _command(self, run: Path, command: str | None) -> None:
        if command == "halt":
            Control(run).halt("as planned", "the benchmark")
        elif command == "resume":
            Control(run).resume()

    def _part(self, settings: Mapping[str, str], last: date, killer: Killer | None) -> None:
        flags = [part for key, value in settings.items() for part in (f"--{key}", value)]
        span = f"{self.world.sessions[0]}:{last}"
        arguments = ["--config", "live.yaml", "--replay", span, "--send-orders", *flags]
        with (self.folder / "said.txt").open("a", encoding="utf-8") as said:
            if killer is None:
                with (
                    contextlib.redirect_stdout(said),
                    contextlib.redirect_stderr(said),
                    _environment(CANARY_KEYS),
                ):
                    code = main(arguments)
            else:
                code = -signal.SIGKILL
                while code == -signal.SIGKILL:
                    code = self._life(arguments, said, killer)
        if code:
            tail = (self.folder / "said.txt").read_text(encoding="utf-8")[-800:]
            raise RuntimeError(f"the loop ended with {code}: {tail}")

    def _life(self, arguments: Sequence[str], said: IO[str], killer: Killer) -> int:
        """From a start of the process to its end or death; its exit code."""
        run = self.folder / "live"
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.live", *arguments],
            stdout=said,
            stderr=said,
            env={**os.environ, **CANARY_KEYS},
        )
        try:
            killer.watch(process, run, partial(self._progress, run))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return process.returncode

    def _progress(self, run: Path) -> int:
        now = FileClock(run / CLOCK).now().date()
        return sum(day < now for day in self.world.sessions)

    def _outcome(
        self,
        flags: Mapping[str, str],
        clock: FileClock,
        server: FakeAlpaca | None,
        seconds: float,
        killer: Killer | None,
    ) -> Outcome:
        settings = load_settings(dict(flags), config="live.yaml", environment={})
        if server is None:
            broker = open_broker(settings, clock)
            cash = broker.account().cash
            positions = {name: held.quantity for name, held in broker.positions().items()}
            taken = Counter[str]()
            for fill in broker.fills(datetime(1990, 1, 1, tzinfo=UTC)):
                taken[fill.client_id] += fill.quantity  # type: ignore[assignment]
            broker.close()
            filled: dict[str, float] = dict(taken)
        else:
            found = server.state()
            cash = float(found["account"]["cash"])
            positions = {one["symbol"]: float(one["qty"]) for one in found["positions"]}
            filled = {name: found["filled"].get(name, 0.0) for name in found["ordered"]}
        with open_state(state_file(settings)) as state:
            return Outcome(
                positions=positions,
                cash=cash,
                state_positions={
                    name: held.quantity for name, held in state.holdings.positions().items()
                },
                orders=_orders(state, self.world.sessions),
                broker_orders=filled,
                halted=_halted(state, self.world.sessions),
                doubled=_doubled(state, self.world.sessions, filled),
                while_halted=_while_halted(state, self.world.sessions, filled),
                faults={} if server is None else dict(server.faulted),
                secrets=_secrets(self.folder),
                seconds=seconds,
                kills=0 if killer is None else killer.done,
            )


def _orders(state: LiveState, sessions: list[date]) -> list[tuple[Any, ...]]:
    return [
        (
            record.planned.session,
            record.order.ticker,
            record.order.side,
            record.order.quantity,
            record.planned.leg,
            record.planned.attempt,
            record.status,
            record.filled,
        )
        for day in sessions
        for record in state.orders.of(day)
    ]


def _halted(state: LiveState, sessions: list[date]) -> list[date]:
    marks = {day: state.cycles.marks(day).get("trade") for day in sessions}
    return [day for day, mark in marks.items() if mark is not None and mark.status == "halted"]


def _doubled(state: LiveState, sessions: list[date], filled: Mapping[str, float]) -> list[str]:
    """Ids that are not in the state, filled for more than planned, or second to a filled one."""
    known = {record.order.client_id: record for day in sessions for record in state.orders.of(day)}
    wrong = [name for name in filled if name not in known]
    once: Counter[tuple[Any, ...]] = Counter()
    for name, quantity in filled.items():
        if name in known and quantity > 0:
            planned = known[name].planned
            if quantity > planned.order.quantity + 1e-9:
                wrong.append(name)
            once[planned.session, planned.order.ticker, planned.leg] += 1
    return wrong + [str(order) for order, times in once.items() if times > 1]


def _while_halted(state: LiveState, sessions: list[date], filled: Mapping[str, float]) -> list[str]:
    return [
        record.order.client_id
        for day in _halted(state, sessions)
        for record in state.orders.of(day)
        if record.order.client_id in filled or record.sent is not None
    ]


def _secrets(folder: Path) -> list[str]:
    """Files below a folder that hold a key of the environment."""
    keys = [value.encode() for value in CANARY_KEYS.values()]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if any(key in path.read_bytes() for key in keys)]


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

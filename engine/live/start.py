"""Putting the loop together: folder, lock, state, clock, broker."""

from __future__ import annotations

from contextlib import closing
from datetime import date
from pathlib import Path

from rich.console import Console

from engine.calendar import TradingCalendar
from engine.config import Settings
from engine.errors import UsageError
from engine.live.brokers import open_broker
from engine.live.clock import Clock, FileClock, SystemClock
from engine.live.context import Context
from engine.live.control import Control
from engine.live.hours import Hours
from engine.live.loop import Loop
from engine.live.monitor import Monitor, Webhook
from engine.live.schedule import Agenda
from engine.live.state import open_state
from engine.run_folder import RunFolder

__all__ = ["CLOCK", "start", "state_file"]

CLOCK = "replay_clock"


def start(
    settings: Settings,
    console: Console,
    *,
    send: bool,
    once: bool = False,
    replay: tuple[date, date] | None = None,
) -> bool:
    """Run the loop in `<run.dir>/<run.name>`; returns whether a guard halted a phase.

    A `replay` goes through the sessions from its first date to its last without waiting, by a
    clock that is kept in the run folder, so that it goes on where it was killed.

    Raises UsageError for bad settings, and while another process has the folder or the state.
    """
    _check(settings, replay)
    hook = settings.live.monitor.webhook
    webhook = None if hook is None else Webhook(hook.get_secret_value())
    calendar = TradingCalendar(settings.data.calendar)
    hours = Hours(calendar)
    agenda = Agenda(hours, settings.live.schedule)
    with (
        RunFolder(settings.run.dir, settings.run.name).open() as folder,
        open_state(state_file(settings)) as state,
    ):
        clock = _clock(folder.path, agenda, replay, begun=state.cycles.last_session() is not None)
        with closing(open_broker(settings, clock)) as broker:
            monitor = Monitor(console, clock, folder.path, webhook)
            context = Context(
                settings=settings,
                calendar=calendar,
                broker=broker,
                state=state,
                clock=clock,
                control=Control(folder.path),
                monitor=monitor,
                console=console,
                folder=folder.path,
                send=send,
            )
            if not once:
                orders = "orders are sent" if send else "dry run: no order is sent"
                monitor.tell("start", f"{broker.name} broker, {orders}", broker=broker.name)
            if replay:
                return Loop(context, agenda, nap_s=None).run(once=once, until=replay[1])
            return Loop(context, agenda).run(once=once)


def state_file(settings: Settings) -> Path:
    """`live.state`, or `live.duckdb` in the run folder."""
    return settings.live.state or settings.run.dir / settings.run.name / "live.duckdb"


def _check(settings: Settings, replay: tuple[date, date] | None) -> None:
    live = settings.live
    if live.monitor.backtest is not None:
        from engine.live.page.tracking import promised

        promised(live.monitor.backtest)
    if replay and live.broker == "alpaca" and live.alpaca.url is None:
        raise UsageError("--replay orders the past: name a stand-in broker (live.alpaca.url)")
    if replay and live.broker == "paper" and live.paper.quotes != "data":
        raise UsageError("--replay needs live.paper.quotes data")


def _clock(folder: Path, agenda: Agenda, replay: tuple[date, date] | None, *, begun: bool) -> Clock:
    path = folder / CLOCK
    if replay is None:
        if path.exists():
            raise UsageError(f"{folder} is the run of a replay: choose another --run.name")
        return SystemClock()
    if begun and not path.exists():
        raise UsageError(f"{folder} is the run of a live loop: choose another --run.name")
    try:
        first = agenda.slots(agenda.of(replay[0]))[0].due
        return FileClock(path, first)
    except ValueError as error:
        raise UsageError(str(error)) from None

"""What every phase works with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console

from engine.calendar import TradingCalendar
from engine.config import Settings
from engine.config.live import GuardSettings
from engine.live import guards
from engine.live.brokers.broker import Broker
from engine.live.clock import Clock
from engine.live.control import Control
from engine.live.execute import Executor, Patience
from engine.live.guards import GuardEvent
from engine.live.monitor import Monitor
from engine.live.schedule import Slot
from engine.live.state import LiveState, MarkStatus

__all__ = ["Context"]


@dataclass(frozen=True)
class Context:
    """The parts of a running loop.

    Attributes
    ----------
    folder
        The run folder.
    send
        Whether orders are sent; otherwise plans are made and shown.
    """

    settings: Settings
    calendar: TradingCalendar
    broker: Broker
    state: LiveState
    clock: Clock
    control: Control
    monitor: Monitor
    console: Console
    folder: Path
    send: bool

    @property
    def limits(self) -> GuardSettings:
        """The limits of the guards."""
        return self.settings.live.guards

    def patience(self, deadline: datetime) -> Patience:
        """For calls to the broker until `deadline`."""
        return Patience(self.clock, poll_s=self.settings.live.schedule.poll_s, deadline=deadline)

    def executor(self, slot: Slot) -> Executor:
        """For the orders of the slot's session."""
        return Executor(
            self.broker,
            self.state,
            self.clock,
            self.settings.live,
            gate=lambda: self.gate(slot),
            deadline=slot.deadline,
        )

    def gate(self, slot: Slot) -> list[GuardEvent]:
        """The guards that cost nothing: the kill switch, and the market's hours."""
        session = slot.session
        return [
            *guards.kill_switch(self.control.halted()),
            *guards.market_closed(self.clock.now(), session.open, session.close),
        ]

    def mark(self, slot: Slot, status: MarkStatus, detail: str = "") -> None:
        """Say how the slot's phase ended."""
        self.state.cycles.mark(slot.session.date, slot.phase, status, self.clock.now(), detail)

    def halt(self, slot: Slot, events: Sequence[GuardEvent]) -> None:
        """Write down that guards stopped the phase, and tell; persistent ones stay in force."""
        with self.state.transaction():
            self.state.cycles.record_guards(slot.session.date, slot.phase, events, self.clock.now())
            self.mark(slot, "halted", "; ".join(event.explanation for event in events))
        for event in events:
            if event.persistent:
                self.control.halt(event.explanation, f"the guard {event.guard}")
        self.monitor.tripped(events, session=slot.session.date, phase=slot.phase)

"""The loop: from phase to phase, over sessions, through restarts.

What is done is marked in the state, so a process that starts finds the first phase that is not:
it does it if its time has come, waits for it, or says that it was missed. A phase that a guard
halted is done again when a person has said `resume` or `acknowledge` and its time has not passed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from engine.live.brokers.broker import BrokerDownError, BrokerError, Position
from engine.live.context import Context
from engine.live.execute import LateError
from engine.live.guards import GuardEvent
from engine.live.phases import check, decide, finish, review, trade
from engine.live.schedule import Agenda, Phase, Slot
from engine.live.state import Mark

__all__ = ["Loop"]

log = logging.getLogger(__name__)
_PHASES: dict[Phase, Callable[[Context, Slot], None]] = {
    "decide": decide,
    "check": check,
    "trade": trade,
    "finish": finish,
    "review": review,
}


@dataclass(frozen=True)
class Loop:
    """Runs phases when they are due.

    Attributes
    ----------
    nap_s
        How long to wait at most before looking for commands; None in a replay, where waiting takes
        no time.
    """

    context: Context
    agenda: Agenda
    nap_s: float | None = 30.0

    def run(self, *, once: bool = False, until: date | None = None) -> bool:
        """Go on where the state says, for ever, or until the session `until` is over.

        With `once` what is due now is done, and nothing is waited for. Returns whether a guard
        halted a phase.
        """
        last = self.context.state.cycles.last_session()
        session = self.agenda.of(last) if last else self.agenda.first(self.context.clock.now())
        halted = False
        while until is None or session.date <= until:
            for slot in self.agenda.slots(session):
                while not self._over(slot):
                    if self._wait(slot, once=once):
                        self._do(slot)
                        halted |= self._mark(slot) == "halted"
                    elif once:
                        return halted
            session = self.agenda.following(session)
        return halted

    def _over(self, slot: Slot) -> bool:
        """Whether nothing is left to do for the slot."""
        self._take_commands()
        mark = self.context.state.cycles.marks(slot.session.date).get(slot.phase)
        if mark is None:
            return False
        late = self.context.clock.now() > slot.deadline
        if mark.status == "dry_run":
            return not self.context.send or late
        return mark.status != "halted" or late or not self._spoken_since(mark)

    def _spoken_since(self, mark: Mark) -> bool:
        last = self.context.state.cycles.last_command()
        return last is not None and last > mark.at

    def _mark(self, slot: Slot) -> str:
        mark = self.context.state.cycles.marks(slot.session.date).get(slot.phase)
        return "" if mark is None else mark.status

    def _wait(self, slot: Slot, *, once: bool) -> bool:
        """Whether the slot is due; after a nap, or the whole wait where there are no naps."""
        now = self.context.clock.now()
        if now < slot.due and not once:
            self._status(slot)
            self._stop_if_halted(slot)
            nap = slot.due if self.nap_s is None else now + timedelta(seconds=self.nap_s)
            with self.context.console.status(_waiting(slot, now)):
                self.context.clock.wait_until(min(nap, slot.due))
        return self.context.clock.now() >= slot.due

    def _stop_if_halted(self, slot: Slot) -> None:
        """Cancel what an earlier phase left open, once somebody has thrown the switch."""
        context = self.context
        if context.control.halted() and any(not r.closed for r in context.state.orders.unsettled()):
            try:
                context.executor(slot).cancel(slot.session.date)
            except (LateError, BrokerError) as error:
                context.monitor.tell("broker", f"open orders not cancelled: {error}", warning=True)

    def _do(self, slot: Slot) -> None:
        context = self.context
        self._status(slot)
        if context.clock.now() > slot.deadline:
            self._missed(slot, "the loop was not running in time")
            return
        log.info("%s of %s", slot.phase, slot.session.date)
        try:
            _PHASES[slot.phase](context, slot)
        except (LateError, BrokerDownError) as error:
            self._missed(slot, str(error))
        except BrokerError as error:
            context.halt(slot, [GuardEvent("broker", f"the broker refuses: {error}")])
        self._status(slot)

    def _missed(self, slot: Slot, why: str) -> None:
        """Too late: what was to be traded at this open is not traded at another."""
        self.context.mark(slot, "missed", why)
        self.context.monitor.tell(
            "missed",
            f"{slot.phase} of {slot.session.date} was missed: {why}",
            warning=True,
            session=slot.session.date,
            phase=slot.phase,
        )

    def _take_commands(self) -> None:
        context = self.context
        for command in context.control.commands():
            now = context.clock.now()
            with context.state.transaction():
                fresh = context.state.cycles.take(command, now)
                held = command.detail.get("positions")
                if fresh and held is not None:
                    positions = {name: Position(name, *rest) for name, rest in held.items()}
                    context.state.holdings.adopt(positions, now)
            context.control.taken(command)
            if fresh:
                context.monitor.tell("command", f"{command.name} taken up")

    def _status(self, slot: Slot) -> None:
        """`status.json`: where the loop stands."""
        context = self.context
        equity = context.state.holdings.equity()
        halt = context.control.halted()
        marks = context.state.cycles.marks(slot.session.date)
        events = context.state.cycles.guards(slot.session.date)
        context.monitor.status(
            {
                "process": os.getpid(),
                "at": context.clock.now().isoformat(timespec="seconds"),
                "broker": context.broker.name,
                "sends_orders": context.send,
                "session": slot.session.date.isoformat(),
                "phases": {name: [mark.status, mark.detail] for name, mark in marks.items()},
                "next": {"phase": slot.phase, "due": slot.due.isoformat(timespec="seconds")},
                "halted": None if halt is None else {"reason": halt.reason, "by": halt.by},
                "guards": [f"{phase}: {event.explanation}" for phase, event in events],
                "pending": sorted(context.control.pending()),
                "equity": equity["equity"][-1] if equity.height else None,
                "cash": equity["cash"][-1] if equity.height else None,
                "positions": {
                    name: held.quantity for name, held in context.state.holdings.positions().items()
                },
                "orders": [
                    [r.order.side, r.order.quantity, r.order.ticker, r.status, r.filled]
                    for r in context.state.orders.of(slot.session.date)
                ],
            }
        )


def _waiting(slot: Slot, now: datetime) -> str:
    left = timedelta(seconds=round((slot.due - now).total_seconds()))
    return (
        f"waiting for {slot.phase} of {slot.session.date}, "
        f"due {slot.due:%Y-%m-%d %H:%M} UTC (in {left})"
    )

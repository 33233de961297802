"""What is done when: the phases of a session, when each is due and when it is too late for it.

A session's cycle begins after the close before it and ends after its own close:

1. decide: scores and target weights, of the close before (or, with `decide: before_close`, of the
   quotes shortly before its own).
2. check: the account and the guards, before the open.
3. trade: orders, some minutes after the open (or right after deciding).
4. finish: before the close, what is still open is cancelled.
5. review: after the close, equity and the page of the day.

A phase is never due before the one before it, whatever the minutes say, so that a market without a
night between its sessions has the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from engine.config.live import ScheduleSettings
from engine.errors import UsageError
from engine.live.hours import Hours, Session

__all__ = ["Agenda", "Phase", "Slot"]

Phase = Literal["decide", "check", "trade", "finish", "review"]


@dataclass(frozen=True)
class Slot:
    """A phase of a session: due at `due`, and not to be begun after `deadline` (UTC).

    `asof` is the session whose close (or present quotes) the cycle is decided on.
    """

    phase: Phase
    session: Session
    asof: date
    due: datetime
    deadline: datetime


class Agenda:
    """The slots of a calendar's sessions."""

    def __init__(self, hours: Hours, schedule: ScheduleSettings) -> None:
        self._hours = hours
        self._schedule = schedule

    def first(self, now: datetime) -> Session:
        """The first session that can still be traded at `now`."""
        session = self._hours.at(now) or self._hours.next(now)
        trade = next(slot for slot in self.slots(session) if slot.phase == "trade")
        return session if now <= trade.deadline else self.following(session)

    def following(self, session: Session) -> Session:
        """The session after it."""
        return self._hours.next(session.open)

    def of(self, day: date) -> Session:
        """The session of a date. Raises UsageError where the exchange does not trade."""
        session = self._hours.of(day)
        if session is None:
            raise UsageError(f"{day} is not a session of the exchange")
        return session

    def slots(self, session: Session) -> list[Slot]:
        """The five phases in the order they are done."""
        minutes = self._schedule
        after = self.following(session)
        ending = session.close - _minutes(minutes.before_close_min)
        check = session.open - _minutes(minutes.before_open_min)
        review = session.close + _minutes(minutes.after_close_min)
        times: list[tuple[Phase, datetime, datetime]]
        if minutes.decide == "after_close":
            before = self._before(session)
            asof = before.date
            times = [
                ("decide", before.close + _minutes(minutes.after_close_min), ending),
                ("check", check, ending),
                ("trade", session.open + _minutes(minutes.after_open_min), ending),
            ]
        else:
            asof = session.date
            times = [
                ("check", check, session.close),
                ("decide", ending, session.close),
                ("trade", ending, session.close),
            ]
        slots: list[Slot] = []
        # These two are done late rather than not at all.
        times += [("finish", ending, after.close), ("review", review, after.close)]
        for phase, due, deadline in times:
            due = max(due, slots[-1].due) if slots else due
            slots.append(Slot(phase, session, asof, due, deadline))
        return slots

    def _before(self, session: Session) -> Session:
        found = self._hours.begun(session.open - timedelta(microseconds=1))
        if found is None:
            raise UsageError(f"the calendar knows no session before {session.date}")
        return found


def _minutes(number: float) -> timedelta:
    return timedelta(minutes=number)

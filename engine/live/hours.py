"""Opens and closes of an exchange around a moment."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Literal

from engine.calendar import TradingCalendar

__all__ = ["Bell", "Hours", "Session"]

_FIRST, _LAST = date(1990, 1, 1), date(2060, 12, 31)


@dataclass(frozen=True)
class Session:
    """One session: `open` and `close` in UTC, `date` the exchange's own."""

    date: date
    open: datetime
    close: datetime


@dataclass(frozen=True)
class Bell:
    """The open or the close of a session, and when it is."""

    kind: Literal["open", "close"]
    session: Session

    @property
    def moment(self) -> datetime:
        """The time of the bell, UTC."""
        return self.session.open if self.kind == "open" else self.session.close


class Hours:
    """The sessions of a calendar by time; a session lasts from its open to before its close."""

    def __init__(self, calendar: TradingCalendar) -> None:
        self._sessions, self._opens, self._closes = _known(calendar)

    def at(self, now: datetime) -> Session | None:
        """The session that is open at `now`; None while the market is closed."""
        last = self.begun(now)
        return last if last is not None and now < last.close else None

    def begun(self, now: datetime) -> Session | None:
        """The last session that opened at or before `now`."""
        at = bisect_right(self._opens, now)
        return self._sessions[at - 1] if at else None

    def finished(self, now: datetime) -> int:
        """How many sessions closed at or before `now`; they are `first` to `nth(count - 1)`."""
        return bisect_right(self._closes, now)

    def nth(self, number: int) -> Session:
        """The session of this number, counted from the first one known."""
        return self._sessions[number]

    def next(self, now: datetime) -> Session:
        """The first session that opens after `now`.

        Raises
        ------
        ValueError
            No session is known after `now`.
        """
        at = bisect_right(self._opens, now)
        if at == len(self._sessions):
            raise ValueError(f"no session is known after {now}")
        return self._sessions[at]

    def working(self, now: datetime) -> Session:
        """The session an order of `now` is for: the open one, or else the next."""
        return self.at(now) or self.next(now)

    def bells(self, after: datetime, until: datetime) -> list[Bell]:
        """Opens and closes later than `after` and not later than `until`, in order of time.

        Where a session closes as the next one opens, the close comes first.
        """
        first = bisect_right(self._closes, after)
        last = bisect_right(self._opens, until)
        found = []
        for session in self._sessions[first:last]:
            if after < session.open:
                found.append(Bell("open", session))
            if session.close <= until:
                found.append(Bell("close", session))
        return found

    def of(self, day: date) -> Session | None:
        """The session of an exchange's date; None where it does not trade."""
        # A session may open on the evening before its date.
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        at = bisect_left(self._opens, noon - timedelta(days=2))
        for session in self._sessions[at : at + 4]:
            if session.date == day:
                return session
        return None


@cache
def _known(calendar: TradingCalendar) -> tuple[list[Session], list[datetime], list[datetime]]:
    days, opens, closes = calendar.schedule(_FIRST, _LAST).get_columns()
    times = opens.to_list(), closes.to_list()
    return [Session(*row) for row in zip(days.to_list(), *times, strict=True)], *times

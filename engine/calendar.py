"""Exchange sessions: which dates trade, and which dates lie n sessions away.

Sessions come from exchange_calendars and never from the dates of a price file, so the sessions
after the last bar, and the last session of a month whose bars are not there yet, are known.

Dates are the exchange's own; times are UTC.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from engine.errors import UsageError, nearest

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Rebalance", "TradingCalendar"]

Rebalance = Literal["daily", "weekly", "monthly"]

# Building a century and a half takes 0.2 s, so one wide calendar a process serves every request.
# Calendars that know fewer years (XHKG from 1960, XBOM to 2026 …) are cut to what they know.
_FIRST, _LAST = "1900-01-01", "2060-12-31"


@dataclass(frozen=True)
class TradingCalendar:
    """The sessions of one exchange, by its exchange_calendars name ("XNYS", "24/7" for crypto).

    Half days are sessions. Dates are the exchange's own, without a time zone.

    Raises
    ------
    UsageError
        The name is not one of exchange_calendars'.
    """

    name: str

    def __post_init__(self) -> None:
        _sessions(self.name)

    @property
    def periods_per_year(self) -> int:
        """365 for calendars that trade seven days a week, else 252."""
        return 365 if _seven_days(self.name) else 252

    @property
    def zone(self) -> str:
        """The exchange's time zone, as "America/New_York"; "UTC" for 24/7."""
        return str(_exchange(self.name).tz)

    def sessions(self, start: date, end: date) -> list[date]:
        """Sessions from `start` to `end`, both inclusive."""
        days = _sessions(self.name)
        return days[bisect_left(days, start) : bisect_right(days, end)]

    def is_session(self, day: date) -> bool:
        """Whether the exchange trades on `day`."""
        days = _sessions(self.name)
        at = bisect_left(days, day)
        return at < len(days) and days[at] == day

    def offset(self, session: date, n: int) -> date:
        """The session `n` after `session` (before it, where n is negative).

        Raises
        ------
        UsageError
            `session` is no session, or the calendar is not known that far.
        """
        days = _sessions(self.name)
        at = bisect_left(days, session)
        if at == len(days) or days[at] != session:
            near = f"; the one before it is {days[at - 1]}" if at else ""
            raise UsageError(f"{session} is not a session of {self.name}{near}")
        if not 0 <= at + n < len(days):
            raise UsageError(
                f"{self.name} is known from {days[0]} to {days[-1]}: "
                f"no session lies {n} from {session}"
            )
        return days[at + n]

    def future(self, session: date, n: int) -> list[date]:
        """The `n` sessions after `session`, in order; raises as `offset` does."""
        if n < 1:
            return []
        return self.sessions(session + timedelta(days=1), self.offset(session, n))

    def schedule(self, start: date, end: date) -> pl.DataFrame:
        """date, open, close of the sessions from `start` to `end`, both inclusive.

        open and close are Datetime[us, UTC]; half days close early, and a session may open on
        the evening before its date.
        """
        import polars as pl

        days = _sessions(self.name)
        part = slice(bisect_left(days, start), bisect_right(days, end))
        hours = {name: times[part] for name, times in _hours(self.name)._asdict().items()}
        frame = pl.DataFrame({"date": days[part]}, schema={"date": pl.Date})
        return frame.with_columns(
            pl.Series(name, hours[name]).dt.replace_time_zone("UTC") for name in ("open", "close")
        )

    def half_days(self, start: date, end: date) -> list[date]:
        """Sessions from `start` to `end` that close earlier than usual."""
        days = np.array(self.sessions(start, end), dtype="datetime64[D]")
        early = _exchange(self.name).early_closes.to_numpy().astype("datetime64[D]")
        return days[np.isin(days, early)].tolist()

    def bar_starts(self, start: date, end: date, minutes: int) -> np.ndarray:
        """datetime64[us], UTC: the starts of all bars of `minutes` from `start` to `end`.

        The first bar of a session starts at its open, the last before its close; a bar that
        would start in the exchange's midday break is left out.

        Raises
        ------
        UsageError
            `minutes` is not from 1 to 1440.
        """
        if not 1 <= minutes <= 1440:
            raise UsageError(f"a bar has 1 to 1440 minutes, not {minutes}")
        days = _sessions(self.name)
        part = slice(bisect_left(days, start), bisect_right(days, end))
        hours = _hours(self.name)
        opens, closes = hours.open[part], hours.close[part]
        step = np.timedelta64(minutes, "m").astype("timedelta64[us]")
        count = -((opens - closes) // step)
        offsets = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        starts = np.repeat(opens, count) + offsets * step
        pause, resume = (np.repeat(x[part], count) for x in (hours.break_start, hours.break_end))
        return starts[~((starts >= pause) & (starts < resume))]

    def future_bars(self, ts: np.datetime64, n: int, minutes: int) -> np.ndarray:
        """datetime64[us] [n], UTC: the starts of the `n` bars after the one that starts at `ts`.

        They go on in the next sessions, beyond any data. Raises as `offset` and `bar_starts` do.
        """
        if n < 1:
            return np.array([], dtype="datetime64[us]")
        day = ts.astype("datetime64[D]").item()
        first, ahead = day - timedelta(days=1), 4
        while True:
            last = self._later(day, ahead)
            starts = self.bar_starts(first, last, minutes)
            starts = starts[starts > ts.astype("datetime64[us]")]
            if len(starts) >= n:
                return starts[:n]
            ahead *= 2

    def _later(self, day: date, n: int) -> date:
        """The n-th session after a day that need not be one."""
        days = _sessions(self.name)
        at = bisect_right(days, day)
        if not at:
            raise UsageError(f"{self.name} is known from {days[0]} to {days[-1]}, not for {day}")
        return self.offset(days[at - 1], n)

    def rebalances(self, start: date, end: date, frequency: Rebalance) -> list[date]:
        """Rebalance sessions between `start` and `end`, both inclusive.

        Every session, the last of each ISO week, or the last of each month. A session counts as
        the last only if the exchange's next one lies in another week or month, wherever `end` is.
        """
        if frequency not in ("daily", "weekly", "monthly"):
            raise UsageError(f"unknown rebalance {frequency!r}: use daily, weekly or monthly")
        days = self.sessions(start, end)
        if frequency == "daily" or not days:
            return days
        everything = _sessions(self.name)
        after = bisect_right(everything, days[-1])
        # Where the calendar ends, its last session is taken for the last of its period.
        following = [*days[1:], everything[after] if after < len(everything) else date.max]
        period = _iso_week if frequency == "weekly" else _month
        return [
            day for day, later in zip(days, following, strict=True) if period(day) != period(later)
        ]


def _iso_week(day: date) -> tuple[int, int]:
    return day.isocalendar()[:2]


def _month(day: date) -> tuple[int, int]:
    return day.year, day.month


@cache
def _sessions(name: str) -> list[date]:
    return _exchange(name).sessions.to_numpy().astype("datetime64[D]").tolist()


class _Hours(NamedTuple):
    """datetime64[us], UTC, one of each a session; breaks are NaT where there is none."""

    open: np.ndarray
    break_start: np.ndarray
    break_end: np.ndarray
    close: np.ndarray


@cache
def _hours(name: str) -> _Hours:
    schedule = _exchange(name).schedule
    return _Hours(
        *(
            schedule[column].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
            for column in _Hours._fields
        )
    )


@cache
def _seven_days(name: str) -> bool:
    return _exchange(name).weekmask == "1111111"


@cache
def _exchange(name: str) -> Any:
    # The import brings pandas and every exchange's holidays: seconds, so only where dates matter.
    import exchange_calendars
    import pandas as pd

    known = exchange_calendars.get_calendar_names(include_aliases=True)
    if name not in known:
        near = nearest(name, known)
        raise UsageError(f"data.calendar: unknown calendar {name!r}; the nearest is {near!r}")
    first, last = pd.Timestamp(_FIRST), pd.Timestamp(_LAST)
    try:
        with warnings.catch_warnings():
            # The library's own use of pandas; nothing a user of ours could mend.
            warnings.simplefilter("ignore")
            kind = type(exchange_calendars.get_calendar(name))
            first = max(first, kind.bound_min() or first)
            last = min(last, kind.bound_max() or last)
            return exchange_calendars.get_calendar(name, start=first, end=last)
    except (ValueError, NotImplementedError) as error:
        # A few of the library's calendars do not build under every pandas; naming one is bad input.
        raise UsageError(
            f"data.calendar: exchange_calendars cannot build {name} with this pandas"
        ) from error

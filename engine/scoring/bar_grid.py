"""When an exchange's bars start: one a session, or every few minutes within its sessions.

Times are the exchange's own wall clock, as a forecaster's time features read it, so that the
opening bar is the opening bar in summer and in winter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from engine.calendar import TradingCalendar

__all__ = ["BarGrid", "bar_interval", "exchange_time", "generated_steps"]

ENOUGH_BARS = 100_000


@dataclass(frozen=True)
class BarGrid:
    """Every bar that the calendar expects from one session to another.

    Attributes
    ----------
    times
        datetime64[us] [bars], sorted; the session's midnight for daily bars.
    sessions
        datetime64[D] [sessions], sorted.
    starts
        int64 [sessions + 1], session i has the bars starts[i] up to not including starts[i + 1].
    """

    times: np.ndarray
    sessions: np.ndarray
    starts: np.ndarray

    @classmethod
    def between(
        cls, calendar: TradingCalendar, first: date, last: date, interval: np.timedelta64 | None
    ) -> BarGrid:
        """The bars of the sessions from `first` to `last`, `interval` apart (None: daily)."""
        sessions = np.array(calendar.sessions(first, last), dtype="datetime64[D]")
        if interval is None:
            times = sessions.astype("datetime64[us]")
            return cls(times, sessions, np.arange(len(sessions) + 1))
        minutes = int(interval / np.timedelta64(1, "m"))
        starts = calendar.bar_starts(first, last, minutes)
        opens = calendar.schedule(first, last)["open"].dt.replace_time_zone(None).to_numpy()
        bounds = np.append(np.searchsorted(starts, opens.astype(starts.dtype)), len(starts))
        utc = pl.Series(starts).dt.replace_time_zone("UTC")
        return cls(exchange_time(utc, calendar.zone), sessions, bounds)

    def after(self, asof: date, bars: int) -> np.ndarray:
        """datetime64[us] [bars]: the first bars of the sessions after `asof`."""
        first = self.starts[np.searchsorted(self.sessions, np.datetime64(asof, "D"), side="right")]
        return self.times[first : first + bars]

    def steps_to(self, asof: date, horizon: int) -> int:
        """How many bars the `horizon` sessions after `asof` hold."""
        at = int(np.searchsorted(self.sessions, np.datetime64(asof, "D"), side="right"))
        return int(self.starts[at + horizon] - self.starts[at])


def exchange_time(times: pl.Series, timezone: str) -> np.ndarray:
    """datetime64[us]: the exchange's wall clock at UTC times."""
    return (
        times.dt.cast_time_unit("us")
        .dt.convert_time_zone(timezone)
        .dt.replace_time_zone(None)
        .to_numpy()
        .astype("datetime64[us]")
    )


def bar_interval(times: np.ndarray, offsets: np.ndarray) -> np.timedelta64:
    """The commonest distance between neighbouring bars of one ticker, among the first 100,000 bars.

    Parameters
    ----------
    times
        datetime64[us] [rows], ticker after ticker.
    offsets
        int64 [tickers + 1], where each ticker's rows begin.

    Raises ValueError when no ticker has two bars.
    """
    steps = np.diff(times[:ENOUGH_BARS])
    inner = np.ones(len(steps), dtype=bool)
    ends = offsets[1:-1] - 1
    inner[ends[ends < len(steps)]] = False
    found, counts = np.unique(steps[inner], return_counts=True)
    if not len(found):
        raise ValueError("intraday bars: no ticker has two bars, so their interval is unknown")
    return found[np.argmax(counts)]


def generated_steps(
    calendar: TradingCalendar,
    asofs: Sequence[date],
    horizons: Sequence[int],
    interval: np.timedelta64 | None,
) -> int:
    """Bars to generate so that the longest horizon, counted in sessions, is reached everywhere.

    Daily: max(horizons). Intraday: that many of the longest sessions between the first asof and
    the last horizon; after a half day the forecast reaches a little further than it must.
    """
    longest = max(horizons)
    if interval is None:
        return longest
    grid = BarGrid.between(calendar, min(asofs), calendar.offset(max(asofs), longest), interval)
    return longest * int(np.diff(grid.starts).max())

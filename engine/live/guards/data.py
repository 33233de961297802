"""Bars that are late, and names without one."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from engine.calendar import TradingCalendar
from engine.live.guards.event import GuardEvent, listed, tripped

__all__ = ["missing_share", "stale_data"]


def stale_data(
    last_bar: date, asof: date, calendar: TradingCalendar, *, max_age_sessions: int
) -> list[GuardEvent]:
    """The newest bar is of an older session than the one to decide on."""
    late = len(calendar.sessions(last_bar, asof)) - 1 if last_bar < asof else 0
    if late <= max_age_sessions:
        return []
    return tripped(
        "stale_data",
        f"the last bar is of {last_bar}, {late} sessions before {asof}; "
        f"live.guards.max_data_age_sessions allows {max_age_sessions}",
    )


def missing_share(
    expected: Collection[str], present: Collection[str], *, limit: float
) -> list[GuardEvent]:
    """Too many names of the universe have no bar on the session to decide on."""
    lacking = sorted(set(expected) - set(present))
    share = len(lacking) / len(expected) if expected else 1.0
    if share <= limit and expected:
        return []
    return tripped(
        "missing_data",
        f"{len(lacking)} of {len(expected)} names have no bar ({listed(lacking)}): "
        f"more than the share of live.guards.max_missing_share {limit:g}",
        lacking,
    )

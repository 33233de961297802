"""What is due when, on half days, weekends and around the clock."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from engine.calendar import TradingCalendar
from engine.config.live import ScheduleSettings
from engine.errors import UsageError
from engine.live.hours import Hours
from engine.live.schedule import Agenda


def agenda(calendar="XNYS", **changed):
    return Agenda(Hours(TradingCalendar(calendar)), ScheduleSettings(**changed))


def times(found, day):
    slots = found.slots(found.of(date.fromisoformat(day)))
    return {s.phase: (f"{s.due:%d %H:%M}", f"{s.deadline:%d %H:%M}") for s in slots}


CASES = {
    "an ordinary day (New York is at UTC-5)": ("XNYS", "2026-03-04", {}, {
        "decide": ("03 21:30", "04 20:45"), "check": ("04 14:00", "04 20:45"), "trade": ("04 14:35", "04 20:45"),
        "finish": ("04 20:45", "05 21:00"), "review": ("04 21:30", "05 21:00")}),
    "a Monday is decided on Friday": ("XNYS", "2026-03-02", {}, {
        "decide": ("27 21:30", "02 20:45"), "check": ("02 14:00", "02 20:45"), "trade": ("02 14:35", "02 20:45"),
        "finish": ("02 20:45", "03 21:00"), "review": ("02 21:30", "03 21:00")}),
    "a half day closes early": ("XNYS", "2026-11-27", {}, {
        "decide": ("25 21:30", "27 17:45"), "check": ("27 14:00", "27 17:45"), "trade": ("27 14:35", "27 17:45"),
        "finish": ("27 17:45", "30 21:00"), "review": ("27 18:30", "30 21:00")}),
    "decided before the close": ("XNYS", "2026-03-04", {"decide": "before_close"}, {
        "check": ("04 14:00", "04 21:00"), "decide": ("04 20:45", "04 21:00"), "trade": ("04 20:45", "04 21:00"),
        "finish": ("04 20:45", "05 21:00"), "review": ("04 21:30", "05 21:00")}),
    "around the clock": ("24/7", "2026-03-04", {}, {
        "decide": ("04 00:30", "04 23:45"), "check": ("04 00:30", "04 23:45"), "trade": ("04 00:30", "04 23:45"),
        "finish": ("04 23:45", "06 00:00"), "review": ("05 00:30", "06 00:00")}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_slots(case):
    calendar, day, changed, expected = CASES[case]
    found = times(agenda(calendar, **changed), day)
    assert found == expected
    assert list(found) == list(expected)


@pytest.mark.parametrize(
    ("decide", "day", "asof"),
    [("after_close", "2026-03-02", "2026-02-27"), ("before_close", "2026-03-02", "2026-03-02")],
)
def test_what_a_session_is_decided_on(decide, day, asof):
    found = agenda(decide=decide)
    slots = found.slots(found.of(date.fromisoformat(day)))
    assert {slot.asof for slot in slots} == {date.fromisoformat(asof)}


@pytest.mark.parametrize(
    ("now", "session"),
    [
        ("2026-03-04 12:00", "2026-03-04"),
        ("2026-03-04 18:00", "2026-03-04"),
        ("2026-03-04 20:45", "2026-03-04"),
        ("2026-03-04 20:46", "2026-03-05"),
        ("2026-03-04 22:00", "2026-03-05"),
        ("2026-03-07 12:00", "2026-03-09"),
    ],
)
def test_the_first_session_is_one_that_can_be_traded(now, session):
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert agenda().first(moment).date == date.fromisoformat(session)


def test_following_and_days_without_a_session():
    found = agenda()
    friday = found.of(date(2026, 3, 6))
    assert found.following(friday).date == date(2026, 3, 9)
    with pytest.raises(UsageError, match="2026-03-07 is not a session"):
        found.of(date(2026, 3, 7))

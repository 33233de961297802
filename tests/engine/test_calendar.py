from __future__ import annotations

import pickle
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.calendar import TradingCalendar
from engine.errors import UsageError


@pytest.fixture(scope="module")
def nyse() -> TradingCalendar:
    return TradingCalendar("XNYS")


@pytest.mark.parametrize(
    ("day", "trades", "why"),
    [
        (date(2018, 11, 22), False, "Thanksgiving"),
        (date(2018, 11, 23), True, "half day after it"),
        (date(2018, 12, 24), True, "half day"),
        (date(2018, 12, 5), False, "day of mourning"),
        (date(2001, 9, 12), False, "closed after the attacks"),
        (date(2012, 10, 30), False, "hurricane"),
        (date(2018, 12, 15), False, "Saturday"),
        (date(2018, 12, 14), True, "Friday"),
        (date(1962, 1, 2), True, "before the library's default range"),
    ],
)
def test_sessions_are_the_exchanges(nyse, day, trades, why):
    assert nyse.is_session(day) is trades, why
    assert (day in nyse.sessions(day - timedelta(3), day + timedelta(3))) is trades


@pytest.mark.parametrize(
    ("session", "n", "expected"),
    [
        (date(2018, 12, 31), 1, date(2019, 1, 2)),
        (date(2018, 12, 31), 0, date(2018, 12, 31)),
        (date(2019, 1, 2), -1, date(2018, 12, 31)),
        (date(2018, 11, 21), 1, date(2018, 11, 23)),
        (date(2001, 9, 10), 1, date(2001, 9, 17)),
        (date(2010, 12, 31), 252, date(2011, 12, 30)),
        (date(2030, 12, 31), 1, date(2031, 1, 2)),
    ],
)
def test_offset(nyse, session, n, expected):
    assert nyse.offset(session, n) == expected


def test_future_sessions_cross_the_year_end(nyse):
    assert nyse.future(date(2026, 12, 30), 3) == [
        date(2026, 12, 31),
        date(2027, 1, 4),
        date(2027, 1, 5),
    ]
    assert nyse.future(date(2026, 12, 30), 0) == []


@settings(deadline=None)
@given(at=st.integers(0, 10_000), n=st.integers(1, 500))
def test_future_ends_at_the_offset_and_back_again(at, n):
    calendar = TradingCalendar("XNYS")
    session = calendar.sessions(date(1990, 1, 1), date(2035, 1, 1))[at]
    ahead = calendar.future(session, n)
    assert len(ahead) == n
    assert ahead[-1] == calendar.offset(session, n)
    assert calendar.offset(ahead[-1], -n) == session


@pytest.mark.parametrize(
    ("start", "end", "frequency", "expected"),
    [
        # The month goes on after the end: its last bar is no rebalance.
        (date(2018, 11, 1), date(2018, 12, 15), "monthly", [date(2018, 11, 30)]),
        (date(2018, 12, 1), date(2018, 12, 31), "monthly", [date(2018, 12, 31)]),
        (date(2018, 12, 31), date(2018, 12, 31), "monthly", [date(2018, 12, 31)]),
        # 30 March 2018 was Good Friday, and March ended on a Saturday.
        (date(2018, 3, 1), date(2018, 4, 10), "monthly", [date(2018, 3, 29)]),
        (
            date(2018, 12, 17),
            date(2019, 1, 9),
            "weekly",
            [date(2018, 12, 21), date(2018, 12, 28), date(2019, 1, 4)],
        ),
        # A week of one year that ends in the next is one week.
        (date(2024, 12, 30), date(2025, 1, 3), "weekly", [date(2025, 1, 3)]),
        (date(2024, 12, 30), date(2025, 1, 2), "weekly", []),
        (date(2018, 11, 21), date(2018, 11, 24), "daily", [date(2018, 11, 21), date(2018, 11, 23)]),
        (date(2018, 12, 15), date(2018, 12, 16), "monthly", []),
        (date(2018, 12, 15), date(2018, 12, 1), "daily", []),
    ],
)
def test_rebalances(nyse, start, end, frequency, expected):
    assert nyse.rebalances(start, end, frequency) == expected


def test_every_day_trades_on_24_7():
    crypto = TradingCalendar("24/7")
    assert crypto.periods_per_year == 365
    assert crypto.future(date(2023, 12, 30), 3) == [
        date(2023, 12, 31),
        date(2024, 1, 1),
        date(2024, 1, 2),
    ]
    assert crypto.rebalances(date(2024, 2, 1), date(2024, 3, 1), "monthly") == [date(2024, 2, 29)]
    assert crypto.rebalances(date(2024, 3, 1), date(2024, 3, 12), "weekly") == [
        date(2024, 3, 3),
        date(2024, 3, 10),
    ]


def test_periods_per_year_of_an_exchange(nyse):
    assert nyse.periods_per_year == 252


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda: TradingCalendar("XNYC"),
            "data.calendar: unknown calendar 'XNYC'; the nearest is 'XNYS'",
        ),
        (
            lambda: TradingCalendar("XNYS").offset(date(2018, 12, 15), 1),
            "2018-12-15 is not a session of XNYS; the one before it is 2018-12-14",
        ),
        (
            lambda: TradingCalendar("XNYS").offset(date(2060, 12, 31), 1),
            "XNYS is known from 1900-01-01 to 2060-12-31: no session lies 1 from 2060-12-31",
        ),
        (
            lambda: TradingCalendar("XNYS").rebalances(
                date(2018, 1, 1), date(2018, 2, 1), "yearly"
            ),
            "unknown rebalance 'yearly': use daily, weekly or monthly",
        ),
    ],
)
def test_errors_are_one_line(act, message):
    with pytest.raises(UsageError) as caught:
        act()
    assert str(caught.value) == message


def test_travels_to_another_process_by_name():
    calendar = TradingCalendar("XNYS")
    assert pickle.loads(pickle.dumps(calendar)) == calendar
    assert len(pickle.dumps(calendar)) < 200


def test_a_calendar_known_for_fewer_years_is_cut_to_them():
    tokyo = TradingCalendar("XTKS")
    assert tokyo.sessions(date(1900, 1, 1), date(1997, 1, 10))[0].year == 1997


class TestHours:
    def test_a_day_a_half_day_and_a_change_of_the_clock_in_utc(self, nyse):
        hours = nyse.schedule(date(2024, 3, 8), date(2024, 3, 11))
        shown = hours.select(
            "date",
            open=hours["open"].dt.strftime("%d %H:%M"),
            close=hours["close"].dt.strftime("%d %H:%M"),
        )
        assert shown.rows() == [
            (date(2024, 3, 8), "08 14:30", "08 21:00"),
            (date(2024, 3, 11), "11 13:30", "11 20:00"),
        ]
        assert nyse.schedule(date(2024, 7, 3), date(2024, 7, 4))["close"].dt.strftime(
            "%d %H:%M"
        ).to_list() == ["03 17:00"]
        assert nyse.half_days(date(2024, 7, 1), date(2024, 12, 31)) == [
            date(2024, 7, 3),
            date(2024, 11, 29),
            date(2024, 12, 24),
        ]
        assert (nyse.zone, TradingCalendar("24/7").zone) == ("America/New_York", "UTC")

    @pytest.mark.parametrize(
        ("name", "day", "minutes", "count", "first", "last"),
        [
            ("XNYS", date(2024, 7, 2), 5, 78, "2024-07-02T13:30", "2024-07-02T19:55"),
            ("XNYS", date(2024, 7, 3), 5, 42, "2024-07-03T13:30", "2024-07-03T16:55"),
            ("XNYS", date(2024, 7, 4), 5, 0, None, None),
            ("XNYS", date(2024, 7, 2), 60, 7, "2024-07-02T13:30", "2024-07-02T19:30"),
            ("24/7", date(2024, 7, 6), 15, 96, "2024-07-06T00:00", "2024-07-06T23:45"),
            (
                "XHKG",
                date(2024, 7, 2),
                30,
                11,
                "2024-07-02T01:30",
                "2024-07-02T07:30",
            ),  # a midday break
            (
                "CMES",
                date(2024, 7, 2),
                60,
                24,
                "2024-07-01T22:00",
                "2024-07-02T21:00",
            ),  # from the evening before
        ],
    )
    def test_bar_starts(self, name, day, minutes, count, first, last):
        starts = TradingCalendar(name).bar_starts(day, day, minutes)
        assert len(starts) == count
        if count:
            assert (starts[0], starts[-1]) == (np.datetime64(first), np.datetime64(last))

    @pytest.mark.parametrize(
        ("after", "expected"),
        [
            ("2024-07-02T15:00", ["2024-07-02T15:05", "2024-07-02T15:10"]),
            ("2024-07-03T16:55", ["2024-07-05T13:30", "2024-07-05T13:35"]),
            ("2024-07-06T12:00", ["2024-07-08T13:30", "2024-07-08T13:35"]),  # a Saturday
            ("2026-12-31T20:55", ["2027-01-04T14:30", "2027-01-04T14:35"]),  # beyond any data
        ],
    )
    def test_future_bars(self, nyse, after, expected):
        assert (
            nyse.future_bars(np.datetime64(after), 2, 5).tolist()
            == np.array(expected, "datetime64[us]").tolist()
        )

    def test_many_future_bars_are_the_calendars(self, nyse):
        ahead = nyse.future_bars(np.datetime64("2024-07-01T13:30"), 1000, 5)
        whole = nyse.bar_starts(date(2024, 7, 1), date(2024, 9, 1), 5)
        assert ahead.tolist() == whole[1:1001].tolist()
        assert len(nyse.future_bars(np.datetime64("2024-07-01T13:30"), 0, 5)) == 0

    @pytest.mark.parametrize("minutes", [0, 1441])
    def test_no_such_bar(self, nyse, minutes):
        with pytest.raises(UsageError, match=f"a bar has 1 to 1440 minutes, not {minutes}"):
            nyse.bar_starts(date(2024, 7, 1), date(2024, 7, 2), minutes)

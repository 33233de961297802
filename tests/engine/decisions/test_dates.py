"""Which dates a run decides at."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from engine.calendar import TradingCalendar
from engine.data.market import Market
from engine.decisions.dates import (
    Span,
    decision_dates,
    latest_dates,
    next_rebalance,
    rebalance_dates,
)
from engine.errors import UsageError

CALENDAR = TradingCalendar("XNYS")
FIRST, LAST = date(2018, 1, 2), date(2018, 12, 14)
DAYS = CALENDAR.sessions(FIRST, LAST)
BARS = pl.DataFrame({"ticker": ["A"] * len(DAYS), "date": DAYS})


def dates(start=None, end=None, rebalance="monthly", lookback=1, bars=BARS):
    market = Market.from_bars(bars, CALENDAR)
    return decision_dates(market, Span(start, end), rebalance=rebalance, lookback=lookback)


def test_both_ends_are_inclusive():
    assert dates(date(2018, 3, 29), date(2018, 5, 31)) == [
        date(2018, 3, 29),  # Good Friday is the 30th
        date(2018, 4, 30),
        date(2018, 5, 31),
    ]
    assert dates(date(2018, 3, 30), date(2018, 5, 30)) == [date(2018, 4, 30)]


def test_the_last_row_of_the_data_is_no_month_end():
    assert dates()[-1] == date(2018, 11, 30)


def test_without_a_start_the_first_date_has_a_full_lookback():
    assert dates(lookback=21)[0] == date(2018, 1, 31)  # 21 sessions from the 2nd
    assert dates(lookback=22)[0] == date(2018, 2, 28)


def test_with_a_start_short_windows_are_left_to_be_counted():
    assert dates(date(2018, 1, 1), lookback=200)[0] == date(2018, 1, 31)


def test_data_too_short_for_any_window_still_give_dates():
    assert dates(lookback=5000)[0] == date(2018, 1, 31)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (date(2019, 1, 1), None, r"evaluation.start 2019-01-01 is after the last bar: the data run from 2018-01-02 to 2018-12-14"),
        (None, date(2017, 6, 1), r"evaluation.end 2017-06-01 is before the first bar"),
        (date(2018, 12, 1), None, r"no monthly rebalance session from 2018-12-01 to 2018-12-14"),
    ],
)  # fmt: skip
def test_dates_outside_the_data_are_named(start, end, message):
    with pytest.raises(UsageError, match=message):
        dates(start, end)


def test_later_rows_change_no_earlier_date():
    short = BARS.filter(pl.col("date") <= date(2018, 6, 29))
    assert dates(bars=short) == [d for d in dates() if d <= date(2018, 6, 29)]


def test_rebalances_among_scored_dates_follow_the_calendar():
    asofs = pl.Series(CALENDAR.sessions(date(2018, 1, 2), date(2018, 3, 15)))
    assert rebalance_dates(asofs, CALENDAR, "monthly") == [date(2018, 1, 31), date(2018, 2, 28)]
    assert rebalance_dates(asofs, CALENDAR, "daily") == asofs.to_list()


def test_scores_with_a_schedule_of_their_own_keep_it():
    mid_month = pl.Series([date(2018, 2, 15), date(2018, 1, 16)])
    assert rebalance_dates(mid_month, CALENDAR, "monthly") == sorted(mid_month.to_list())
    assert rebalance_dates(pl.Series([], dtype=pl.Date), CALENDAR, "monthly") == []


def test_a_portfolio_is_held_until_the_calendars_next_rebalance():
    assert next_rebalance(date(2018, 11, 30), CALENDAR, "monthly") == date(2018, 12, 31)
    assert next_rebalance(date(2018, 11, 15), CALENDAR, "monthly") == date(2018, 11, 30)
    assert next_rebalance(date(2018, 11, 30), CALENDAR, "weekly") == date(2018, 12, 7)
    assert next_rebalance(date(2018, 11, 30), CALENDAR, "daily") == date(2018, 12, 3)


@pytest.mark.parametrize(
    ("at_most", "last", "kept"),
    [
        (None, date(2024, 12, 31), slice(None)),
        (2, date(2024, 12, 31), slice(-2, None)),
        (2, date(2024, 5, 31), slice(1, 3)),  # 20 sessions after 30 April is 29 May
        (9, date(2024, 5, 31), slice(None, 3)),
        (2, date(2024, 2, 1), slice(-2, None)),  # no label is mature: the latest of all
    ],
)
def test_the_latest_dates_are_those_with_mature_labels(calendar, at_most, last, kept):
    dates = calendar.rebalances(date(2024, 2, 1), date(2024, 6, 30), "monthly")
    assert latest_dates(dates, at_most, calendar, last=last, horizon=20) == dates[kept]

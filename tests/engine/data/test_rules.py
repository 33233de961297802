from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.calendar import TradingCalendar
from engine.data.contract import BARS, conform
from engine.data.rules import QUARANTINE, partition

DAY = date(2018, 1, 2)
NAN, INF = float("nan"), float("inf")
GOOD = {
    "date": DAY,
    "ticker": "A",
    "open": 10.0,
    "high": 12.0,
    "low": 9.0,
    "close": 11.0,
    "volume": 5.0,
    "amount": 50.0,
    "adj_factor": 1.0,
}


def rows(*changes: dict) -> pl.DataFrame:
    schema = {**BARS, "source": pl.String}
    return pl.DataFrame([GOOD | {"source": "f"} | change for change in changes], schema=schema)


@pytest.mark.parametrize(
    ("change", "rule", "message"),
    [
        ({"ticker": None}, "no ticker", "the row names no ticker"),
        ({"ticker": "  "}, "no ticker", "the row names no ticker"),
        (
            {"date": None},
            "unreadable date",
            "the date is missing, not YYYY-MM-DD, or has a time of day",
        ),
        (
            {"date": date(2018, 1, 6)},
            "not a session",
            "2018-01-06 is not a session of XNYS",
        ),
        (
            {"date": date(2018, 1, 1)},
            "not a session",
            "2018-01-01 is not a session of XNYS",
        ),
        (
            {"close": NAN},
            "missing or non-finite price",
            "open 10.0, high 12.0, low 9.0, close NaN",
        ),
        (
            {"open": None},
            "missing or non-finite price",
            "open missing, high 12.0, low 9.0, close 11.0",
        ),
        ({"high": INF}, "missing or non-finite price", "open 10.0, high inf, low 9.0, close 11.0"),
        ({"low": 0.0}, "non-positive price", "open 10.0, high 12.0, low 0.0, close 11.0"),
        ({"close": -1.0}, "non-positive price", "open 10.0, high 12.0, low 9.0, close -1.0"),
        ({"high": 8.0}, "high below low", "open 10.0, high 8.0, low 9.0, close 11.0"),
        ({"high": 10.5}, "high below open or close", "open 10.0, high 10.5, low 9.0, close 11.0"),
        ({"low": 10.5}, "low above open or close", "open 10.0, high 12.0, low 10.5, close 11.0"),
        ({"volume": -1.0}, "negative volume", "volume -1.0"),
        ({"volume": INF}, "negative volume", "volume inf"),
        ({"amount": -1.0}, "negative amount", "amount -1.0"),
        ({"adj_factor": None}, "invalid adj_factor", "adj_factor missing"),
        ({"adj_factor": 0.0}, "invalid adj_factor", "adj_factor 0.0"),
        ({"adj_factor": NAN}, "invalid adj_factor", "adj_factor NaN"),
    ],
)
def test_each_rule_names_itself(nyse, change, rule, message):
    kept, quarantined = partition(rows({"date": date(2018, 1, 3)}, change), nyse)
    assert kept.height == 1
    expected = {
        "ticker": change.get("ticker", "A"),
        "date": change.get("date", DAY),
        "rule": rule,
        "message": message,
        "source": "f",
    }
    assert quarantined.to_dicts() == [expected]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"volume": None},
        {"volume": 0.0},
        {"amount": None},
        # A bar that did not move.
        {"open": 11.0, "high": 11.0, "low": 11.0},
        # Noise of prices adjusted column by column, or stored as float32.
        {"high": 11.0 * (1 - 5e-7), "low": 9.0},
        {"low": 10.0 * (1 + 5e-7)},
        {"open": 11.0, "high": 11.0, "low": 11.0 * (1 + 5e-7)},
    ],
)
def test_good_rows_stay(nyse, change):
    kept, quarantined = partition(rows(change), nyse)
    assert (kept.height, quarantined.height) == (1, 0)


def test_the_first_broken_rule_is_the_one_named(nyse):
    _, quarantined = partition(rows({"close": NAN, "volume": -1.0, "high": 1.0}), nyse)
    assert quarantined["rule"].to_list() == ["missing or non-finite price"]


@pytest.mark.parametrize(
    ("changes", "kept_closes", "rules"),
    [
        ([{}, {}, {}], [11.0], ["duplicate row"] * 2),
        ([{}, {"close": 10.5}], [], ["conflicting duplicates"] * 2),
        ([{}, {}, {"volume": 6.0}], [], ["conflicting duplicates"] * 3),
        # Of a good and a broken row of one date the good one stands.
        ([{}, {"close": NAN}], [11.0], ["missing or non-finite price"]),
        ([{}, {"ticker": "B"}, {"date": date(2018, 1, 3)}], [11.0, 11.0, 11.0], []),
        # The same row from two files is a copy.
        ([{}, {"source": "other"}], [11.0], ["duplicate row"]),
        ([{"volume": None}, {"volume": None}], [11.0], ["duplicate row"]),
    ],
)
def test_duplicates(nyse, changes, kept_closes, rules):
    kept, quarantined = partition(rows(*changes), nyse)
    assert kept["close"].to_list() == kept_closes
    assert quarantined["rule"].to_list() == rules


def test_kept_rows_are_sorted(nyse):
    given_rows = rows({"ticker": "B"}, {"date": date(2018, 1, 3)}, {})
    kept, _ = partition(given_rows, nyse)
    assert kept.select("ticker", "date").rows() == [
        ("A", DAY),
        ("A", date(2018, 1, 3)),
        ("B", DAY),
    ]


def test_no_rows(nyse):
    kept, quarantined = partition(rows(), nyse)
    assert (kept.height, quarantined.height) == (0, 0)
    assert quarantined.schema == QUARANTINE


price = st.one_of(
    st.none(), st.sampled_from([NAN, INF, -INF, 0.0, -3.0]), st.floats(1e-3, 1e6), st.just(10.0)
)
row = st.fixed_dictionaries(
    {
        "ticker": st.sampled_from([None, "", "A", "B"]),
        "date": st.one_of(
            st.none(),
            st.dates(date(2018, 1, 1), date(2018, 1, 5)),
            st.sampled_from([date(1, 1, 1), date(1850, 5, 5), date(9999, 12, 31)]),
        ),
        **{name: price for name in ("open", "high", "low", "close", "volume", "amount")},
        "adj_factor": price,
    }
)
CALENDAR = TradingCalendar("XNYS")


@settings(max_examples=150, deadline=None)
@given(st.lists(row, max_size=12))
def test_rows_in_are_rows_kept_and_rows_quarantined(drawn):
    frame = pl.DataFrame(drawn, schema=dict(BARS)) if drawn else rows().drop("source")
    typed = conform(frame.lazy(), source="f").collect()
    kept, quarantined = partition(typed, CALENDAR)
    assert kept.height + quarantined.height == len(drawn)
    assert kept.select("ticker", "date").is_duplicated().sum() == 0
    assert not quarantined["rule"].has_nulls()
    assert not quarantined["message"].has_nulls()
    prices = kept.select("open", "high", "low", "close", "adj_factor")
    assert all(value > 0 and value < INF for values in prices.rows() for value in values)
    # Judging what was kept finds nothing more.
    again, nothing = partition(kept, CALENDAR)
    assert again.equals(kept)
    assert nothing.is_empty()

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from engine.calendar import TradingCalendar
from engine.features import compute_labels, training_rows
from engine.features.folds import embargo_start, fold_first_session

CALENDAR = TradingCalendar("XNYS")
SESSIONS = CALENDAR.sessions(date(2018, 1, 2), date(2020, 6, 30))


def labelled(asofs: list[date], horizons: list[int], last: date) -> pl.DataFrame:
    """Rows as `compute_labels` gives them, of data that end at `last`."""
    return pl.DataFrame(
        [(asof, horizon, CALENDAR.offset(asof, horizon)) for asof in asofs for horizon in horizons],
        schema={"asof": pl.Date, "horizon": pl.Int32, "matures": pl.Date},
        orient="row",
    ).with_columns(
        mature=pl.col("matures") <= last,
        label=pl.when(pl.col("matures") <= last).then(0.5),
    )


@settings(max_examples=60, deadline=None)
@given(
    year=st.sampled_from([2019, 2020]),
    month=st.integers(1, 6),
    embargo=st.integers(0, 90),
    horizons=st.lists(st.integers(1, 90), min_size=1, max_size=3, unique=True),
    every=st.integers(1, 21),
    last=st.sampled_from(SESSIONS[250:]),
)
def test_no_training_label_matures_inside_or_after_the_embargo(
    year, month, embargo, horizons, every, last
):
    fold = f"{year}-{month:02d}"
    rows = labelled(SESSIONS[::every], horizons, last)
    known = training_rows(rows, fold, CALENDAR, embargo_sessions=embargo)
    first = next(day for day in SESSIONS if (day.year, day.month) == (year, month))
    at = SESSIONS.index(first)
    # Every session of the embargo and everything after it is free of maturities …
    forbidden = set(SESSIONS[max(at - embargo, 0) :])
    assert not forbidden & set(known["matures"])
    assert known["label"].null_count() == 0
    # … and nothing else is given up.
    free = rows.filter(
        pl.col("matures").is_in(SESSIONS[: max(at - embargo, 0)]), pl.col("matures") <= last
    )
    assert_frame_equal(known, free)


@pytest.mark.parametrize(
    ("fold", "first"),
    [
        ("2019-01", date(2019, 1, 2)),
        ("2019-06", date(2019, 6, 3)),
        ("2018-12", date(2018, 12, 3)),
        ("2021-01", date(2021, 1, 4)),
    ],
)
def test_a_fold_begins_with_its_months_first_session(fold, first):
    assert fold_first_session(fold, CALENDAR) == first
    assert embargo_start(fold, CALENDAR, embargo_sessions=0) == first
    assert CALENDAR.offset(embargo_start(fold, CALENDAR, embargo_sessions=20), 20) == first


def test_the_last_session_before_the_embargo_still_counts():
    # The fold begins on 2019-06-03; five sessions before it is 2019-05-24.
    rows = labelled([date(2019, 5, 22), date(2019, 5, 23)], [1], date(2020, 1, 2))
    known = training_rows(rows, "2019-06", CALENDAR, embargo_sessions=5)
    assert known["asof"].to_list() == [date(2019, 5, 22)]
    assert known["matures"].to_list() == [date(2019, 5, 23)]


def test_folds_expand():
    rows = labelled(SESSIONS[::5], [20], SESSIONS[-1])
    sizes = [
        training_rows(rows, f"2019-{month:02d}", CALENDAR, embargo_sessions=20).height
        for month in range(1, 13)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_a_label_that_is_missing_trains_nobody(market_of):
    market = market_of({"A": [100.0] * 60, "B": [50.0] * 60}, benchmark=[(10.0, 10.0)] * 5)
    labels = compute_labels(market, CALENDAR.sessions(date(2018, 1, 2), date(2018, 3, 20)), [5])
    known = training_rows(labels, "2018-04", CALENDAR, embargo_sessions=0)
    assert 0 < known.height < labels.height
    assert known["label"].null_count() == 0


@pytest.mark.parametrize(
    ("fold", "embargo", "said"),
    [
        ("2019-06", -1, "embargo_sessions is at least 0, not -1"),
        ("2019-13", 5, "month must be in"),
        ("2199-06", 5, "XNYS knows no session in it"),
    ],
)
def test_bad_requests(fold, embargo, said):
    with pytest.raises(ValueError, match=said):
        training_rows(labelled([], [1], SESSIONS[-1]), fold, CALENDAR, embargo_sessions=embargo)

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.errors import UsageError
from engine.signals.latest import add_latest, wants_latest

# A Wednesday, 11:00 in New York; the session runs from 14:30 to 21:00 UTC.
TODAY = date(2020, 3, 4)
NOW = datetime(2020, 3, 4, 16, 0, tzinfo=UTC)
LIMITS = {"max_age_s": 60.0, "max_spread": 0.02, "max_move": 0.3}


@pytest.fixture
def bars(make_bars) -> pl.DataFrame:
    """Complete bars until yesterday; BBB has a partial bar of today too."""
    spans = {"AAA": (date(2020, 2, 3), date(2020, 3, 3)), "BBB": (date(2020, 2, 3), TODAY)}
    return make_bars(spans).with_columns(adj_factor=pl.lit(2.0))


def last_close(bars: pl.DataFrame, ticker: str) -> float:
    return bars.filter(pl.col("ticker") == ticker, pl.col("date") < TODAY)["close"][-1]


def quote(ticker: str, mid: float, *, age: float = 5.0, spread: float = 0.002, **other) -> dict:
    bid, ask = mid * (1 - spread / 2), mid * (1 + spread / 2)
    ts = NOW - timedelta(seconds=age)
    return {"ticker": ticker, "ts": ts, "bid": bid, "ask": ask, "bid_size": 100} | other


def add(bars, *quotes, now=NOW, calendar=None, **limits):
    frame = pl.DataFrame(list(quotes)).with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))
    return add_latest(bars, frame, calendar, now=now, **{**LIMITS, **limits})


def test_a_quote_makes_todays_row(bars, calendar):
    mid = last_close(bars, "AAA") * 1.01
    latest = add(bars, quote("AAA", mid), calendar=calendar)
    assert (latest.session, latest.added, latest.completed) == (TODAY, ("AAA",), ())
    row = latest.bars.filter(pl.col("ticker") == "AAA").tail(1).to_dicts()[0]
    assert row.pop("date") == TODAY
    assert row.pop("partial") is True
    prices = [row[name] for name in ("open", "high", "low", "close")]
    assert prices == pytest.approx([mid] * 4)
    assert (row["volume"], row["amount"], row["adj_factor"]) == (0.0, 0.0, 2.0)
    assert latest.refused.is_empty()


@pytest.mark.parametrize("change", [-0.1, 0.0, 0.1])
def test_a_quote_completes_the_partial_bar(bars, calendar, change):
    partial = bars.filter(pl.col("ticker") == "BBB", pl.col("date") == TODAY).to_dicts()[0]
    mid = partial["close"] * (1 + change)
    latest = add(bars, quote("BBB", mid), calendar=calendar)
    assert latest.completed == ("BBB",)
    row = latest.bars.filter(pl.col("ticker") == "BBB").tail(1).to_dicts()[0]
    assert row["close"] == pytest.approx(mid)
    assert row["high"] == pytest.approx(max(partial["high"], mid))
    assert row["low"] == pytest.approx(min(partial["low"], mid))
    assert (row["open"], row["volume"]) == (partial["open"], partial["volume"])
    assert row["partial"] is True


def test_no_earlier_bar_changes(bars, calendar):
    quotes = [quote(name, last_close(bars, name) * 1.02) for name in ("AAA", "BBB")]
    latest = add(bars, *quotes, calendar=calendar)
    earlier = pl.col("date") < TODAY
    assert_frame_equal(latest.bars.filter(earlier).drop("partial"), bars.filter(earlier))
    assert not latest.bars.filter(earlier)["partial"].any()
    assert latest.bars.filter(~earlier)["partial"].all()
    assert latest.bars.filter(~earlier).height == 2


def test_without_a_quote_the_partial_bar_is_marked(bars, calendar):
    latest = add(bars, quote("AAA", last_close(bars, "AAA")), calendar=calendar)
    own = latest.bars.filter(pl.col("ticker") == "BBB")
    assert own["partial"].to_list() == [False] * (own.height - 1) + [True]
    assert_frame_equal(own.drop("partial"), bars.filter(pl.col("ticker") == "BBB"))


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        ({"age": 61.0}, "stale quote", "61.0 s old, at most 60.0 are allowed"),
        ({"age": -2.0}, "quote from the future", "2.0 s after the present"),
        ({"age": 20 * 3600.0}, "quote of another session", "of 2020-03-03"),
        ({"bid": None}, "no bid or ask", None),
        ({"ask": 0.0}, "no bid or ask", None),
        ({"ask": float("nan")}, "no bid or ask", None),
        ({"spread": -0.001}, "crossed quote", "above ask"),
        ({"spread": 0.05}, "spread too wide", "more than 0.02 of the mid"),
        ({"ticker": "ZZZ"}, "unknown ticker", "has no complete bar"),
        ({"scale": 0.5}, "too far from the last close", "a split?"),
    ],
)
def test_refused_quotes_are_counted_with_their_reason(bars, calendar, change, reason, message):
    mid = last_close(bars, "AAA") * change.pop("scale", 1.0)
    row = quote("AAA", mid, **{k: v for k, v in change.items() if k in ("age", "spread")})
    row |= {k: v for k, v in change.items() if k not in ("age", "spread")}
    latest = add(bars, row, calendar=calendar)
    assert latest.drops == {reason: 1}
    assert latest.refused["reason"].to_list() == [reason]
    if message:
        assert message in latest.refused["message"][0]
    assert latest.added == ()
    assert_frame_equal(latest.bars.drop("partial"), bars)


def test_the_newest_quote_counts_and_every_other_is_counted(bars, calendar):
    close = last_close(bars, "AAA")
    quotes = [quote("AAA", close * by, age=age) for by, age in ((1.01, 30), (1.02, 3), (1.03, -5))]
    latest = add(bars, *quotes, calendar=calendar)
    assert latest.bars.filter(pl.col("ticker") == "AAA")["close"][-1] == pytest.approx(close * 1.02)
    assert latest.drops == {"older quote": 1, "quote from the future": 1}
    # A newest quote that is no good is not made up for by an older one.
    latest = add(bars, quotes[0], quote("AAA", close, age=3, spread=0.5), calendar=calendar)
    assert latest.added == ()
    assert latest.drops == {"older quote": 1, "spread too wide": 1}


@pytest.mark.parametrize(
    "now",
    [
        datetime(2020, 3, 4, 14, 29, tzinfo=UTC),
        datetime(2020, 3, 4, 21, 0, tzinfo=UTC),
        datetime(2020, 3, 7, 16, 0, tzinfo=UTC),
    ],
)
def test_nothing_is_added_while_the_exchange_is_closed(bars, calendar, now):
    latest = add(bars, quote("AAA", 50.0), now=now, calendar=calendar)
    assert latest.session is None
    assert latest.drops == {"exchange closed": 1}
    assert_frame_equal(latest.bars.drop("partial"), bars)
    assert not latest.bars["partial"].any()


def test_bad_input_is_refused(bars, calendar, make_bars):
    good = quote("AAA", 50.0)
    with pytest.raises(UsageError, match="lack the column ask"):
        add(bars, {k: v for k, v in good.items() if k != "ask"}, calendar=calendar)
    with pytest.raises(UsageError, match="BBB has a bar of 2020-03-04, after the present"):
        add(bars, good, now=NOW - timedelta(days=1), calendar=calendar)
    with pytest.raises(UsageError, match="intraday"):
        add(bars.with_columns(ts=pl.lit(NOW)), good, calendar=calendar)


@pytest.mark.parametrize(
    ("setting", "live", "on"),
    [
        (None, True, True),
        (None, False, False),
        (True, True, True),
        (True, False, False),
        (False, True, False),
    ],
)
def test_it_is_on_for_live_signals_only(setting, live, on):
    assert wants_latest(setting, live=live) is on

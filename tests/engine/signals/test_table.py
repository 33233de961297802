"""Ranks, changes, and the reasons of those left out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import polars as pl
import pytest

from engine.data.market import load_market
from engine.errors import UsageError
from engine.signals.compute import compute_signals

ASOF = date(2020, 8, 5)  # a Wednesday; T09 has no bar that week


@pytest.fixture
def at(traded, configured, tmp_path):
    def signals(asof=ASOF, bars=traded, previous=None, quotes=None, now=None, **flags):
        bars.write_parquet(tmp_path / "bars.parquet")
        settings = configured(tmp_path, tmp_path / "bars.parquet", **flags)
        return compute_signals(settings, asof, previous=previous, quotes=quotes, now=now)

    return signals


def reasons(signals) -> dict[str, str]:
    left_out = signals.table.filter(pl.col("rank").is_null())
    return dict(left_out.select("ticker", "reason").iter_rows())


def test_ranks_follow_the_score_and_weights_the_ranks(at):
    table = at().table.drop_nulls("rank")
    assert table["rank"].to_list() == list(range(1, table.height + 1))
    assert table["score"].is_sorted(descending=True)
    assert table.head(3)["target_weight"].to_list() == pytest.approx([0.5 / 3] * 3)
    assert table.tail(3)["target_weight"].to_list() == pytest.approx([-0.5 / 3] * 3)
    assert table["reason"].null_count() == table.height


def test_names_left_out_have_a_reason(at, traded):
    broken = traded.with_columns(
        high=pl.when((pl.col("ticker") == "T02") & (pl.col("date") == ASOF))
        .then(pl.col("low") * 0.5)
        .otherwise("high")
    )
    found = at(bars=broken, data__universe="T00,T01,T02,T03,T04,T05,T06,T08,T09,T10,T11")
    said = reasons(found)
    assert said["T09"] == "no bar at asof"
    assert said["T02"].startswith("bar of today quarantined")
    assert set(said) == {"T02", "T09"}


def test_a_short_history_and_an_ended_name(at):
    assert reasons(at(date(2020, 6, 10)))["T03"] == "history shorter than lookback"
    names = "T00,T01,T03,T04,T05,T07"
    assert reasons(at(date(2020, 11, 13), data__universe=names)) == {
        "T07": "no bar in the last ten sessions"
    }


def test_names_outside_the_universe_of_the_date(at, traded, configured, tmp_path):
    at()
    settings = configured(tmp_path, tmp_path / "bars.parquet")
    spans = {
        "ticker": ["T00", "T01"],
        "from": [date(2020, 1, 1)] * 2,
        "to": [None, date(2020, 7, 1)],
    }
    members = pl.DataFrame(spans, schema={"ticker": pl.String, "from": pl.Date, "to": pl.Date})
    market = replace(load_market(settings.data), members=members)
    found = compute_signals(settings, ASOF, market=market)
    assert found.table.drop_nulls("rank")["ticker"].to_list() == ["T00"]
    assert reasons(found)["T01"] == "not a member of the universe"


def test_change_is_counted_from_the_previous_target(at):
    held = pl.DataFrame({"ticker": ["T00", "T09", "GONE"], "weight": [0.25, -0.5, 0.1]})
    found = at(previous=held)
    rows = {row["ticker"]: row for row in found.table.iter_rows(named=True)}
    assert rows["T00"]["change"] == pytest.approx(rows["T00"]["target_weight"] - 0.25)
    assert (rows["T09"]["target_weight"], rows["T09"]["change"]) == (0.0, 0.5)
    assert rows["GONE"]["reason"] == "no bar in the last ten sessions"
    assert rows["GONE"]["change"] == pytest.approx(-0.1)


def test_closes_are_as_recorded(at, traded):
    closes = at().closes
    last = traded.filter(pl.col("date") <= ASOF, pl.col("ticker") == "T05").sort("date")["close"][
        -1
    ]
    row = closes.filter(pl.col("ticker") == "T05").row(0, named=True)
    assert (row["date"], row["close"]) == (ASOF, last)
    assert closes.filter(pl.col("ticker") == "T09")["date"][0] < ASOF


OPEN = datetime(2020, 8, 5, 19, 40, tzinfo=UTC)  # twenty minutes before the close


def quoted(traded, *, names=("T00", "T01", "T02", "T04"), spread=0.001, ts=OPEN):
    last = traded.filter(pl.col("date") < ASOF).group_by("ticker").agg(pl.col("close").last())
    mid = pl.col("close") * 1.01
    return last.filter(pl.col("ticker").is_in(names)).select(
        "ticker", ts=pl.lit(ts), bid=mid * (1 - spread / 2), ask=mid * (1 + spread / 2)
    )


def test_quotes_make_todays_bar(at, traded):
    quotes = pl.concat([quoted(traded), quoted(traded, names=("T06",), spread=0.5)])
    found = at(quotes=quotes, now=OPEN)
    ranked = found.table.drop_nulls("rank")["ticker"].to_list()
    assert sorted(ranked) == ["T00", "T01", "T02", "T04"]
    said = reasons(found)
    assert said["T06"] == "quote refused: spread too wide"
    assert said["T08"] == "no bar at asof"
    assert found.drops["quote: spread too wide"] == 1
    mid = (
        quotes.filter(pl.col("ticker") == "T00").select((pl.col("bid") + pl.col("ask")) / 2).item()
    )
    close = found.closes.filter(pl.col("ticker") == "T00")["close"][0]
    assert close == pytest.approx(mid, rel=1e-12)


def test_a_replay_before_the_close_knows_nothing_of_the_bar_that_followed(at, traded, noised):
    """The file has the whole bar of the session; another one, and others after it, change nothing."""
    yesterday = date(2020, 8, 4)
    quotes = quoted(traded)
    whole = at(quotes=quotes, now=OPEN)
    other = at(bars=noised(traded, yesterday), quotes=quotes, now=OPEN)
    assert other.table.equals(whole.table)
    assert other.data_hash == whole.data_hash


@pytest.mark.parametrize(
    ("asof", "flags", "message"),
    [
        (date(2020, 8, 8), {}, "not a session"),
        (date(2021, 3, 1), {}, "last bar of the data is of 2020-12-31"),
        (date(2019, 6, 4), {}, "no name can be scored.*history shorter"),
        (ASOF, {"data__end": "2020-08-03"}, "after data.end 2020-08-03"),
        (ASOF, {"strategy__since": "2020-09-01"}, "strategy.since 2020-09-01 is after"),
        (ASOF, {"strategy__horizon": "7"}, "strategy.horizon: 7"),
        (ASOF, {"features": "momentum_7m"}, "unknown factor 'momentum_7m'"),
    ],
)
def test_what_cannot_be_asked_is_one_line(at, asof, flags, message):
    with pytest.raises(UsageError, match=message) as caught:
        at(asof, **flags)
    assert "\n" not in str(caught.value)


def test_quotes_outside_the_session_are_refused(at, traded):
    with pytest.raises(UsageError, match="open session only"):
        at(quotes=quoted(traded), now=datetime(2020, 8, 5, 22, 0, tzinfo=UTC))
    with pytest.raises(UsageError, match=r"data\.add_latest false"):
        at(quotes=quoted(traded), now=OPEN, data__add_latest="false")
    with pytest.raises(UsageError, match="no quote can be used"):
        at(quotes=quoted(traded, spread=0.5), now=OPEN)

"""The open session, and its partial bars, which a backtest never sees."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from engine.data.market import load_market
from engine.data.sessions import drop_partial, open_session
from engine.errors import UsageError

# A Wednesday, 11:00 in New York; the session runs from 14:30 to 21:00 UTC.
TODAY = date(2020, 3, 4)
NOW = datetime(2020, 3, 4, 16, 0, tzinfo=UTC)


@pytest.fixture
def bars(make_bars) -> pl.DataFrame:
    """Complete bars until yesterday; BBB has a partial bar of today too."""
    spans = {"AAA": (date(2020, 2, 3), date(2020, 3, 3)), "BBB": (date(2020, 2, 3), TODAY)}
    return make_bars(spans).with_columns(adj_factor=pl.lit(2.0))


def test_the_open_session(calendar):
    eastern = ZoneInfo("America/New_York")
    assert open_session(calendar, datetime(2020, 3, 4, 9, 30, tzinfo=eastern)) == TODAY
    assert open_session(calendar, datetime(2020, 3, 4, 9, 29, tzinfo=eastern)) is None
    # A half day closes at 13:00.
    assert open_session(calendar, datetime(2020, 11, 27, 12, 59, tzinfo=eastern)) is not None
    assert open_session(calendar, datetime(2020, 11, 27, 13, 0, tzinfo=eastern)) is None
    with pytest.raises(UsageError, match="time zone"):
        open_session(calendar, datetime(2020, 3, 4, 9, 30))


def test_partial_bars_are_dropped(bars, calendar):
    kept, n = drop_partial(bars, calendar, NOW)
    assert (n, kept["date"].max()) == (1, date(2020, 3, 3))
    after_close = datetime(2020, 3, 4, 21, 0, tzinfo=UTC)
    assert drop_partial(bars, calendar, after_close)[1] == 0
    # A clock that is wrong takes nothing out of the middle of a history.
    earlier = datetime(2020, 2, 12, 16, 0, tzinfo=UTC)
    assert drop_partial(bars, calendar, earlier)[1] == 0
    marked = bars.with_columns(partial=pl.col("date") == TODAY)
    kept, n = drop_partial(marked, calendar, after_close)
    assert n == 1
    assert kept.columns == bars.columns


def test_a_backtest_never_sees_the_partial_bar(bars, request_of, tmp_path):
    path = tmp_path / "bars.parquet"
    bars.write_parquet(path)
    request = request_of("parquet", path)
    market = load_market(request, now=NOW)
    assert market.last_session == date(2020, 3, 3)
    assert market.drops["partial bar of the open session"] == 1
    closed = load_market(request, now=datetime(2020, 3, 4, 22, 0, tzinfo=UTC))
    assert closed.last_session == TODAY
    assert "partial bar of the open session" not in closed.drops
    assert load_market(request, now=NOW, keep_partial=True).last_session == TODAY
    # Whatever the partial bar says, the market of the backtest is the same.
    noise = pl.when(pl.col("date") == TODAY).then(pl.col("close") * 1.001).otherwise("close")
    high = pl.max_horizontal("high", noise)
    bars.with_columns(close=noise, high=high).write_parquet(path)
    assert load_market(request, now=NOW).data_hash == market.data_hash

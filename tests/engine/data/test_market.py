from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from engine.data import load_market
from engine.data.contract import BARS
from engine.errors import UsageError


@pytest.fixture
def stored(tmp_path, request_of, rows_of):
    """Settings of a Parquet file of A, B and SPY, six sessions from 2018-01-02."""
    path = tmp_path / "bars.parquet"
    rows_of("SPY", "B", "A", sessions=6).write_parquet(path)

    def build(**given):
        return request_of("parquet", path, **given)

    return build


def test_a_null_universe_is_all_but_benchmark_and_volatility_index(stored):
    assert load_market(stored()).tickers == ["A", "B", "SPY"]
    assert load_market(stored(benchmark="SPY")).tickers == ["A", "B"]
    assert load_market(stored(benchmark="SPY", volatility_index="B")).tickers == ["A"]


def test_a_named_universe_is_exactly_that(stored):
    assert load_market(stored(universe=["B"], benchmark="SPY")).tickers == ["B"]
    assert load_market(stored(universe=["SPY", "B"], benchmark="SPY")).tickers == ["B", "SPY"]


def test_columns_types_and_order(stored):
    market = load_market(stored(benchmark="SPY", volatility_index="B"))
    assert market.bars.schema == BARS
    assert market.bars.select("ticker", "date").equals(
        market.bars.select("ticker", "date").sort("ticker", "date")
    )
    assert market.benchmark.schema == {"date": pl.Date, "open": pl.Float64, "close": pl.Float64}
    assert market.volatility_index.schema == {"date": pl.Date, "close": pl.Float64}
    assert market.bars.row(0) == (
        date(2018, 1, 2),
        "A",
        10.0,
        12.0,
        9.0,
        11.0,
        100.0,
        100.0 * 10.5,
        1.0,
    )


def test_adjusted_prices_and_an_adjusted_benchmark(tmp_path, request_of, rows_of):
    path = tmp_path / "bars.parquet"
    rows_of("A", "SPY").with_columns(adj_factor=pl.lit(0.5)).write_parquet(path)
    market = load_market(request_of("parquet", path, benchmark="SPY"))
    assert market.bars["close"].to_list() == [11.0, 12.0, 13.0]
    assert market.adjusted()["close"].to_list() == [5.5, 6.0, 6.5]
    assert market.adjusted()["volume"].to_list() == [200.0, 400.0, 600.0]
    assert market.adjusted()["amount"].to_list() == market.bars["amount"].to_list()
    assert market.benchmark["open"].to_list() == [5.0, 5.5, 6.0]


def test_start_and_end_are_inclusive(stored):
    market = load_market(stored(start=date(2018, 1, 3), end=date(2018, 1, 5), benchmark="SPY"))
    assert market.bars["date"].unique().sort().to_list() == [
        date(2018, 1, 3),
        date(2018, 1, 4),
        date(2018, 1, 5),
    ]
    assert market.last_session == date(2018, 1, 5)
    assert market.benchmark["date"].max() == date(2018, 1, 5)


def test_a_benchmark_may_miss_dates(tmp_path, request_of, rows_of):
    path = tmp_path / "bars.parquet"
    pl.concat([rows_of("A", sessions=6), rows_of("SPY", sessions=6).gather_every(2)]).write_parquet(
        path
    )
    market = load_market(request_of("parquet", path, benchmark="SPY"))
    assert market.benchmark.height == 3
    assert market.bars.height == 6


def test_every_defect_is_quarantined_with_its_rule_and_counted(data_folder, request_of):
    path = data_folder / "defects.csv"
    market = load_market(request_of("csv", path, benchmark="IDX"))
    day = date(2018, 1, 1)
    assert market.quarantine.select("ticker", "date", "rule").rows() == [
        ("AAA", day + timedelta(3), "high below low"),
        ("AAA", day + timedelta(4), "missing or non-finite price"),
        ("AAA", day + timedelta(5), "not a session"),
        ("BBB", None, "unreadable date"),
        ("BBB", day + timedelta(4), "negative volume"),
        ("BBB", day + timedelta(7), "missing or non-finite price"),
        ("AAA", day + timedelta(8), "duplicate row"),
        ("BBB", day + timedelta(2), "conflicting duplicates"),
        ("BBB", day + timedelta(2), "conflicting duplicates"),
    ]
    assert market.quarantine["source"].unique().to_list() == [str(path)]
    assert market.drops == {
        "quarantined: conflicting duplicates": 2,
        "quarantined: duplicate row": 1,
        "quarantined: high below low": 1,
        "quarantined: missing or non-finite price": 2,
        "quarantined: negative volume": 1,
        "quarantined: not a session": 1,
        "quarantined: unreadable date": 1,
        "volume missing, taken as 0": 1,
    }
    assert market.bars.height + market.benchmark.height + market.quarantine.height == 19


def test_a_named_ticker_without_bars_in_the_dates_is_counted(request_of):
    asked = request_of(universe=["AAPL", "FB"], end=date(2005, 1, 1))
    market = load_market(asked)
    assert market.tickers == ["AAPL"]
    assert market.drops == {"tickers of data.universe without usable bars": 1}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"universe": ["A", "AB"]},
            "data.universe: {path} has no 'AB'; the nearest is 'B'",
        ),
        ({"universe": ["spy"]}, "data.universe: {path} has no 'spy'; the nearest is 'SPY'"),
        ({"universe": []}, "data.universe is empty: name tickers, or null for every ticker"),
        (
            {"benchmark": "SPX"},
            "data.benchmark: {path} has no 'SPX'; the nearest is 'SPY', "
            "or give --data.benchmark null for none",
        ),
        (
            {"volatility_index": "SPZ", "benchmark": "SPY"},
            "data.volatility_index: {path} has no 'SPZ'; the nearest is 'SPY', "
            "or give --data.volatility_index null for none",
        ),
        (
            {"start": date(2019, 1, 1)},
            "data.start 2019-01-01 is after the last bar: {path} has 2018-01-02 to 2018-01-09",
        ),
        (
            {"end": date(2017, 12, 31)},
            "data.end 2017-12-31 is before the first bar: {path} has 2018-01-02 to 2018-01-09",
        ),
        (
            {"start": date(2018, 1, 6), "end": date(2018, 1, 7)},
            "{path} has no bars of the universe between data.start and data.end: "
            "it has 2018-01-02 to 2018-01-09",
        ),
        (
            {"calendar": "XNYC"},
            "data.calendar: unknown calendar 'XNYC'; the nearest is 'XNYS'",
        ),
    ],
)
def test_bad_requests(stored, given, message):
    asked = stored(**given)
    with pytest.raises(UsageError) as caught:
        load_market(asked)
    assert str(caught.value) == message.format(path=asked.path)


def test_a_source_of_the_benchmark_alone_has_no_candidate(tmp_path, request_of, rows_of):
    path = tmp_path / "bars.parquet"
    rows_of("SPY").write_parquet(path)
    with pytest.raises(UsageError, match="no candidate besides the benchmark"):
        load_market(request_of("parquet", path, benchmark="SPY"))


def test_rows_without_a_ticker_have_no_nearest(tmp_path, request_of, rows_of):
    path = tmp_path / "bars.parquet"
    rows_of("A").with_columns(ticker=pl.lit(None, pl.String)).write_parquet(path)
    with pytest.raises(UsageError) as caught:
        load_market(request_of("parquet", path, universe=["A"]))
    assert str(caught.value) == f"data.universe: {path} has no 'A'"


def test_a_series_outside_the_dates(request_of):
    with pytest.raises(UsageError) as caught:
        load_market(request_of(volatility_index="VIX", end=date(2012, 1, 1)))
    assert str(caught.value) == (
        "data.volatility_index: 'VIX' has no usable bar between data.start and data.end"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ticker,date,open,high,low,close\n", "{path}: holds no bars"),
        (
            "ticker,date,open,high,low,close\nA,02/01/2018,1,1,1,1\nA,03/01/2018,1,1,1,1\n",
            "{path}: none of 2 rows is usable; the first (A): unreadable date, "
            "the date is missing, not YYYY-MM-DD, or has a time of day",
        ),
        (
            "ticker,date,open,high,low,close\nA,2018-01-02,one,two,three,four\n",
            "{path}: none of 1 rows is usable; the first (A 2018-01-02): missing or "
            "non-finite price, open missing, high missing, low missing, close missing",
        ),
    ],
)
def test_files_without_a_usable_row(tmp_path, request_of, text, message):
    path = tmp_path / "bars.csv"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_market(request_of("csv", path))
    assert str(caught.value) == message.format(path=path)


def test_the_hash_is_of_the_content(tmp_path, request_of, rows_of):
    def hash_of(frame: pl.DataFrame, name: str, **given) -> str:
        path = tmp_path / name
        frame.write_parquet(path)
        return load_market(request_of("parquet", path, **given)).data_hash

    rows = rows_of("A", "B", "SPY")
    first = hash_of(rows, "a.parquet")
    assert len(first) == 64
    assert hash_of(rows, "b.parquet") == first
    assert hash_of(rows.sample(fraction=1, shuffle=True, seed=1), "c.parquet") == first
    assert hash_of(rows.cast({"volume": pl.Int64}), "d.parquet") == first
    changed = rows.with_columns(
        high=pl.col("high") + pl.when(pl.col("ticker") == "B").then(1e-9).otherwise(0.0)
    )
    renamed = rows.with_columns(pl.col("ticker").replace("B", "C"))
    others = [
        hash_of(changed, "e.parquet"),
        hash_of(renamed, "f.parquet"),
        hash_of(rows, "g.parquet", benchmark="SPY"),
        hash_of(rows, "h.parquet", volatility_index="SPY"),
    ]
    assert len({first, *others}) == 5


def test_bars_before_a_date_do_not_depend_on_bars_after_it(tmp_path, request_of, rows_of):
    rows = rows_of("A", "B", sessions=20)
    cut = rows["date"].unique().sort()[9]
    noise = rows.with_columns(
        pl.when(pl.col("date") > cut).then(-pl.col("close")).otherwise("close").alias("close")
    )
    for name, frame in (("a", rows), ("b", noise)):
        frame.write_parquet(tmp_path / f"{name}.parquet")
    before = [
        load_market(request_of("parquet", tmp_path / f"{name}.parquet")).bars.filter(
            pl.col("date") <= cut
        )
        for name in ("a", "b")
    ]
    assert before[0].equals(before[1])


def test_a_seven_day_market_keeps_weekends(tmp_path, request_of):
    days = [date(2024, 3, 1) + timedelta(i) for i in range(10)]
    frame = pl.DataFrame({"ticker": "BTC", "date": days}).with_columns(
        open=1.0, high=2.0, low=0.5, close=1.5
    )
    frame.write_parquet(tmp_path / "c.parquet")
    market = load_market(request_of("parquet", tmp_path / "c.parquet", calendar="24/7"))
    assert market.bars.height == 10
    assert market.drops == {"volume missing, taken as 0": 10}
    weekdays = load_market(request_of("parquet", tmp_path / "c.parquet"))
    assert weekdays.drops["quarantined: not a session"] == 4

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from engine.data.contract import BARS, INTRADAY, complete, conform
from engine.errors import UsageError

DAY = date(2018, 1, 2)


def good(**changed) -> pl.DataFrame:
    row = {"ticker": "A", "date": DAY, "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0}
    return pl.DataFrame({key: [value] for key, value in row.items()}).with_columns(
        **{
            key: value if isinstance(value, pl.Expr) else pl.lit(value)
            for key, value in changed.items()
        }
    )


def conformed(frame: pl.DataFrame, **settings) -> dict:
    result = conform(frame.lazy(), source="file", **settings).collect()
    assert result.drop("source").schema == BARS
    return result.row(0, named=True)


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float64, pl.Int8, pl.Int64, pl.UInt16, pl.String])
def test_numbers_of_any_width_become_f64(dtype):
    row = conformed(good(close=pl.lit(11).cast(dtype), volume=pl.lit(7).cast(dtype)))
    assert (row["close"], row["volume"]) == (11.0, 7.0)


def test_decimals_are_numbers():
    assert conformed(good(close=pl.lit("11.25").str.to_decimal(scale=2)))["close"] == 11.25


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (pl.lit(DAY), DAY),
        (pl.lit(datetime(2018, 1, 2)), DAY),
        (pl.lit(datetime(2018, 1, 2)).cast(pl.Datetime("ns")), DAY),
        # Midnight in its own zone, whatever the hour in UTC.
        (pl.lit(datetime(2018, 1, 2)).dt.replace_time_zone("America/New_York"), DAY),
        (pl.lit(datetime(2018, 1, 2, 9, 30)), None),
        (pl.lit("2018-01-02"), DAY),
        (pl.lit(" 2018-01-02 "), DAY),
        (pl.lit("2018-01-02T00:00:00"), DAY),
        (pl.lit("2018-01-02 00:00:00.000-05:00"), DAY),
        (pl.lit("2018-01-02 09:30:00"), None),
        (pl.lit("2018-02-30"), None),
        (pl.lit("01/02/2018"), None),
        (pl.lit(""), None),
        (pl.lit(None), None),
    ],
)
def test_dates(value, expected):
    assert conformed(good(date=value))["date"] == expected


def test_a_cell_that_is_no_number_becomes_null_alone():
    frame = pl.concat([good(close=pl.lit("11.5")), good(close=pl.lit("n/a"))])
    assert conform(frame.lazy(), source="f").collect()["close"].to_list() == [11.5, None]


def test_a_missing_adj_factor_column_is_one_and_a_null_in_it_stays():
    assert conformed(good())["adj_factor"] == 1.0
    assert conformed(good(adj_factor=pl.lit(None, pl.Float64)))["adj_factor"] is None


def test_the_ticker_comes_from_outside_only_where_the_column_is_missing():
    assert conformed(good().drop("ticker"), ticker="FILE")["ticker"] == "FILE"
    assert conformed(good(), ticker="FILE")["ticker"] == "A"


def test_numeric_tickers_are_text():
    assert conformed(good(ticker=7203))["ticker"] == "7203"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            good().drop("close"),
            "f: column `close` is missing; it has ticker, date, open, high, low",
        ),
        (
            pl.DataFrame({"ticker;date;open": ["A;2020-01-02;1"]}),
            "f: column `ticker` is missing; the file seems to separate columns by something else than a comma",
        ),
        (good().rename({"date": "Date"}), "f: column `date` is missing; rename `Date` to `date`"),
        (
            good().drop("ticker"),
            "f: column `ticker` is missing; it has date, open, high, low, close",
        ),
        (good(high=True), "f: column `high` is boolean, not a number"),
        (good(low=DAY), "f: column `low` is date, not a number"),
        (good(date=20180102), "f: column `date` is int32; use dates or YYYY-MM-DD text"),
        (good(ticker=1.5), "f: column `ticker` is float64, not text"),
        (
            good(ts=20180102).drop("date"),
            "f: column `ts` is int32; use times or text as 2024-03-01T09:30:00-05:00",
        ),
    ],
)
def test_errors_name_source_and_column(frame, message):
    with pytest.raises(UsageError) as caught:
        conform(frame.lazy(), source="f")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("volume", "amount", "expected", "missing"),
    [
        (2.0, None, (2.0, 21.0), 0),
        (2.0, 5.0, (2.0, 5.0), 0),
        (None, None, (0.0, 0.0), 1),
        (float("nan"), None, (0.0, 0.0), 1),
        (None, 5.0, (0.0, 5.0), 1),
    ],
)
def test_complete_fills_volume_and_amount(volume, amount, expected, missing):
    given = good(volume=pl.lit(volume, pl.Float64), amount=pl.lit(amount, pl.Float64))
    filled, count = complete(conform(given.lazy(), source="f").collect())
    assert filled.select("volume", "amount").row(0) == expected
    assert count == missing


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-03-01 09:30:00", datetime(2024, 3, 1, 14, 30)),  # the exchange's zone
        ("2024-07-01T09:30", datetime(2024, 7, 1, 13, 30)),
        ("2024-03-01T14:30:00Z", datetime(2024, 3, 1, 14, 30)),
        ("2024-03-01T14:30:00.250+05:30", datetime(2024, 3, 1, 9, 0, 0, 250_000)),
        ("2024-03-01 09:30:00-0500", datetime(2024, 3, 1, 14, 30)),
        ("2024-11-03 01:30:00", datetime(2024, 11, 3, 5, 30)),  # shown twice: the first
        ("2024-03-10 02:30:00", None),  # skipped by the clock
        ("2024-03-01", None),
        ("09:30", None),
        (datetime(2024, 3, 1, 9, 30), datetime(2024, 3, 1, 14, 30)),
        (datetime(2024, 3, 1, 9, 30, tzinfo=UTC), datetime(2024, 3, 1, 9, 30)),
        (None, None),
    ],
)
def test_intraday_times_become_utc(value, expected):
    frame = good(ts=pl.lit(value)).drop("date")
    result = conform(frame.lazy(), source="f", zone="America/New_York").collect()
    assert result.drop("source").schema == INTRADAY
    assert result["ts"].item() == (expected and expected.replace(tzinfo=UTC))


def test_the_day_of_an_intraday_bar_is_that_of_its_zone():
    frame = good(ts=datetime(2024, 3, 2, 1, tzinfo=UTC)).drop("date")
    assert conform(frame.lazy(), source="f", zone="America/New_York").collect()[
        "date"
    ].item() == date(2024, 3, 1)

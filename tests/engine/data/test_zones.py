"""Days with a time zone: the same sessions in every zone, or a refusal; never another day."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import polars as pl
import pytest

from engine.calendar import TradingCalendar
from engine.data.contract import conform
from engine.data.sources.tables import read_actions, read_members, read_sectors
from engine.decisions.scores_file import read_scores
from engine.errors import UsageError

CALENDARS = ["XNYS", "XSHG", "XNZE"]
# Winter and summer, and the days beside them.
DAYS = [date(2024, 1, 9), date(2024, 1, 10), date(2024, 7, 9), date(2024, 7, 10)]


def one_of_each_clock() -> list[str]:
    """A zone for every pair of offsets in winter and summer that the world knows."""
    names = sorted(z for z in available_timezones() if z.count("/") and z.split("/")[0].istitle())
    return list({tuple(offset(z, day) for day in DAYS): z for z in names}.values())


def offset(zone: str, day: date) -> timedelta | None:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).utcoffset()


ZONES = one_of_each_clock()


def spread(values: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"ticker": list("ABCD"), "day": values})


def bars(frame, calendar, folder):
    prices = {name: pl.lit(1.0) for name in ("open", "high", "low", "close")}
    given = frame.rename({"day": "date"}).with_columns(**prices).lazy()
    return conform(given, source="f", zone=calendar.zone).collect()["date"].to_list()


def scores(frame, calendar, folder):
    path = folder / "scores.parquet"
    given = frame.rename({"day": "asof"}).with_columns(horizon=pl.lit(5), score=pl.lit(0.1))
    given.write_parquet(path)
    return read_scores(path, [5], calendar).sort("ticker")["asof"].to_list()


def sectors(frame, calendar, folder):
    path = folder / "sectors.parquet"
    frame.rename({"day": "from"}).with_columns(sector=pl.lit("x")).write_parquet(path)
    return read_sectors(path, zone=calendar.zone)["from"].to_list()


def members(frame, calendar, folder):
    path = folder / "members.parquet"
    frame.with_columns(pl.col("day").alias("to")).rename({"day": "from"}).write_parquet(path)
    found = read_members(path, "parquet", zone=calendar.zone)
    # A `to` that cannot be read would mean "still": its `from` goes with it.
    assert found["from"].is_null().equals(found["to"].is_null())
    return found["to"].to_list()


def actions(frame, calendar, folder):
    path = folder / "actions.parquet"
    given = frame.rename({"day": "date"}).with_columns(kind=pl.lit("split"), value=pl.lit(2.0))
    given.write_parquet(path)
    return read_actions(path, "parquet", zone=calendar.zone)["date"].to_list()


READERS = [bars, scores, sectors, members, actions]


def as_text(times: pl.Series) -> pl.Series:
    return times.dt.strftime("%Y-%m-%dT%H:%M:%S%:z")


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("name", CALENDARS)
@pytest.mark.parametrize("read", READERS)
def test_the_exchanges_midnight_is_its_day_in_every_zone_or_refused(read, name, text, tmp_path):
    calendar = TradingCalendar(name)
    local = pl.Series(DAYS).cast(pl.Datetime("us")).dt.replace_time_zone(calendar.zone)
    resolved = 0
    for zone in ZONES:
        times = local.dt.convert_time_zone(zone)
        try:
            found = read(spread(as_text(times) if text else times), calendar, tmp_path)
        except UsageError as error:
            assert "midnight" in str(error)  # noqa: PT017
            continue
        assert all(day in (None, right) for day, right in zip(found, DAYS, strict=True)), zone
        resolved += None not in found
    # What is refused is a midnight of two days, a whole day apart.
    assert resolved > 0.9 * len(ZONES)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("name", CALENDARS)
@pytest.mark.parametrize("read", READERS)
def test_a_midnight_anywhere_names_its_own_day_or_is_refused(read, name, text, tmp_path):
    calendar = TradingCalendar(name)
    for zone in ("UTC", "Asia/Shanghai", "America/New_York", "Pacific/Niue", "Asia/Kolkata"):
        times = pl.Series(DAYS).cast(pl.Datetime("us")).dt.replace_time_zone(zone)
        try:
            found = read(spread(as_text(times) if text else times), calendar, tmp_path)
        except UsageError as error:
            assert "midnight" in str(error)  # noqa: PT017
            continue
        assert all(day in (None, right) for day, right in zip(found, DAYS, strict=True)), zone


def score_file(folder, asof, kind="parquet"):
    path = folder / f"scores.{kind}"
    frame = pl.DataFrame({"asof": [asof], "ticker": ["A"], "horizon": [5], "score": [0.1]})
    frame.write_csv(path) if kind == "csv" else frame.write_parquet(path)
    return path


@pytest.mark.parametrize(
    ("asof", "session"),
    [
        ("2024-01-09", date(2024, 1, 9)),
        (datetime(2024, 1, 9), date(2024, 1, 9)),
        (datetime(2024, 1, 9, 16), date(2024, 1, 9)),  # the close in New York
        ("2024-01-09T21:00:00Z", date(2024, 1, 9)),
        ("2024-01-10T05:00:00+08:00", date(2024, 1, 9)),
        ("2024-01-09T05:00:00Z", date(2024, 1, 9)),
        ("2024-01-09T00:00:00+08:00", date(2024, 1, 9)),
    ],
)
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_score_is_of_a_date_or_of_the_close(asof, session, kind, tmp_path):
    path = score_file(tmp_path, asof, kind)
    assert read_scores(path, [5], TradingCalendar("XNYS"))["asof"].to_list() == [session]


@pytest.mark.parametrize(
    "asof", [datetime(2024, 1, 9, 10), "2024-01-08T16:00:00Z", "2024-01-09T20:59:59Z", "soon"]
)
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_score_of_no_session_is_refused_in_one_line(asof, kind, tmp_path):
    path = score_file(tmp_path, asof, kind)
    with pytest.raises(UsageError, match=r"`asof`: \d*.* \(A\) is neither .*XNYS.*YYYY-MM-DD") as e:
        read_scores(path, [5], TradingCalendar("XNYS"))
    assert str(e.value).startswith(str(path))
    assert "\n" not in str(e.value)

"""Sectors: read strictly, and joined as of the asof."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.data.membership import with_sectors
from engine.data.sources.tables import read_sectors
from engine.errors import UsageError

MOVED = "ticker,sector,from,to\nA,Energy,,2020-06-30\nA,Utilities,2020-07-01,\nB,Energy,,\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "sectors.csv"
    path.write_text(text)
    return path


def test_a_ticker_is_what_it_was_at_the_asof(tmp_path):
    sectors = read_sectors(written(tmp_path, MOVED), zone="America/New_York")
    days = [date(2020, 6, 30), date(2020, 7, 1)]
    panel = pl.DataFrame(
        {"asof": [day for day in days for _ in "ABC"], "ticker": list("CBA") * 2, "row": range(6)}
    )
    found = with_sectors(panel, sectors)
    assert found["row"].to_list() == list(range(6))
    assert found["sector"].to_list() == [None, "Energy", "Energy", None, "Energy", "Utilities"]
    assert with_sectors(panel, None) is panel


def test_parquet_and_files_without_spans_say_the_same(tmp_path):
    plain = read_sectors(
        written(tmp_path, "ticker,sector\nB,Energy\nA, Utilities \n"), zone="America/New_York"
    )
    rows = pl.DataFrame({"ticker": ["A", "B"], "sector": ["Utilities", "Energy"]})
    path = tmp_path / "sectors.parquet"
    rows.with_columns(pl.lit(None, dtype=pl.Date).alias("from")).write_parquet(path)
    assert plain.equals(read_sectors(path, zone="America/New_York"))
    assert plain.select("ticker", "sector").equals(rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ticker,industry\nA,x\n", "column `sector` is missing"),
        ("ticker,sector\nA,x\nB,\n", r"row 2 \(ticker B\): sector is empty"),
        ("ticker,sector\n,x\n", r"row 1 \(ticker empty\): ticker is empty"),
        ("ticker,sector\nA,x\nA,y\n", r"row 2 \(ticker A\): overlaps"),
        ("ticker,sector,from,to\nA,x,soon,\n", "`from` is no date"),
        ("ticker,sector,from,to\nA,x,2020-02-01,2020-01-01\n", "`from` is after `to`"),
        (MOVED.replace("07-01", "06-30"), r"row 2 \(ticker A\): overlaps"),
    ],
)
def test_a_bad_row_is_named_with_its_rule(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(UsageError, match=message) as caught:
        read_sectors(path, zone="America/New_York")
    assert str(path) in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_sectors(tmp_path / "absent.csv", zone="UTC")

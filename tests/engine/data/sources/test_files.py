from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from engine.data.sources import FileSource
from engine.errors import UsageError


@pytest.fixture
def parquet(tmp_path, rows_of):
    path = tmp_path / "bars.parquet"
    rows_of("A", "B", "C", sessions=6).write_parquet(path)
    return path


def test_reads_a_parquet_file(parquet, rows_of):
    bars = FileSource(parquet, "parquet").fetch().bars
    assert bars.select("ticker", "date", "open", "high", "low", "close", "volume").equals(
        rows_of("A", "B", "C", sessions=6)
    )
    assert bars["source"].unique().to_list() == [str(parquet)]


def test_reads_only_what_is_asked_for(parquet):
    source = FileSource(parquet, "parquet")
    day = date(2018, 1, 3)
    bars = source.fetch(tickers=["A", "C", "Z"], start=day, end=date(2018, 1, 4)).bars
    assert bars["ticker"].unique().sort().to_list() == ["A", "C"]
    assert bars["date"].unique().sort().to_list() == [day, date(2018, 1, 4)]


def test_rows_that_cannot_be_placed_are_never_filtered_away(tmp_path, rows_of):
    path = tmp_path / "bars.csv"
    broken = rows_of("A", sessions=3).with_columns(pl.col("date").cast(pl.String))
    nameless = broken.head(1).with_columns(ticker=pl.lit(None, pl.String))
    undated = broken.head(1).with_columns(date=pl.lit("yesterday"))
    pl.concat([broken, nameless, undated]).write_csv(path)
    bars = FileSource(path, "csv").fetch(tickers=["A"], start=date(2018, 1, 4)).bars
    assert bars.filter(pl.col("date").is_null() | pl.col("ticker").is_null()).height == 1
    bars = FileSource(path, "csv").fetch(tickers=["A"]).bars
    assert bars.height == 5


def test_knows_tickers_and_span_without_loading(parquet):
    source = FileSource(parquet, "parquet")
    assert source.tickers() == ["A", "B", "C"]
    assert source.span() == (date(2018, 1, 2), date(2018, 1, 9))


def test_a_folder_names_tickers_by_file_and_tolerates_other_columns(data_folder):
    folder = data_folder / "folder"
    source = FileSource(folder, "csv")
    bars = source.fetch().bars.sort("ticker", "date")
    assert bars.select("ticker", "close", "volume").rows() == [
        ("AAA", 10.5, 1000.0),
        ("AAA", 10.9, 1100.0),
        ("BBB", 20.2, None),
        ("BBB", 19.5, None),
    ]
    assert bars["source"].unique().sort().to_list() == [
        str(folder / "AAA.csv"),
        str(folder / "BBB.csv"),
    ]
    assert source.tickers() == ["AAA", "BBB"]


def test_a_folder_of_parquet_files_of_different_widths(tmp_path, rows_of):
    rows_of("A").cast({"close": pl.Float32}).write_parquet(tmp_path / "a.parquet")
    rows_of("B").cast({"volume": pl.Int64}).drop("volume").write_parquet(tmp_path / "b.parquet")
    (tmp_path / "notes.txt").write_text("not bars")
    (tmp_path / "._a.parquet").write_text("left by another system")
    bars = FileSource(tmp_path, "parquet").fetch().bars
    assert bars.height == 6
    assert bars["close"].dtype == pl.Float64


def test_text_that_looks_like_other_types_stays_a_ticker(tmp_path, rows_of):
    path = tmp_path / "bars.csv"
    rows_of("TRUE", "1E5", "NaN", "null").write_csv(path)
    assert FileSource(path, "csv").tickers() == ["1E5", "NaN", "TRUE", "null"]


def test_compressed_csv(tmp_path, rows_of):
    import gzip

    path = tmp_path / "AAPL.csv.gz"
    path.write_bytes(gzip.compress(rows_of("A").drop("ticker").write_csv().encode()))
    assert FileSource(path, "csv").tickers() == ["AAPL"]


def test_a_path_with_glob_characters_is_one_path(tmp_path, rows_of):
    path = tmp_path / "bars[1].parquet"
    rows_of("A").write_parquet(path)
    assert FileSource(path, "parquet").fetch().bars.height == 3


@pytest.mark.parametrize(
    ("kind", "name", "content", "message"),
    [
        ("csv", "none.csv", None, "data.path: no such file or folder: {path}"),
        ("csv", "empty.csv", "", "{path}: the file is empty"),
        ("csv", "folder", {}, "data.path: the folder {path} holds no .csv or .csv.gz file"),
        (
            "parquet",
            "folder",
            {"a.csv": "ticker"},
            "data.path: the folder {path} holds no .parquet or .pq file",
        ),
        (
            "csv",
            "wide.csv",
            "ticker,date,open,high,low,Closes\n",
            "{path}: column `close` is missing; rename `Closes` to `close`",
        ),
    ],
)
def test_malformed_paths_and_files(tmp_path, kind, name, content, message):
    path = tmp_path / name
    if isinstance(content, dict):
        path.mkdir()
        for file, text in content.items():
            (path / file).write_text(text)
    elif content is not None:
        path.write_text(content)
    with pytest.raises(UsageError) as caught:
        FileSource(path, kind).fetch()
    assert str(caught.value) == message.format(path=path)


@pytest.mark.parametrize("content", [b"ticker,date\nA,2018-01-02\n", b"", b"PAR1 cut short"])
def test_what_is_no_parquet_file_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "bars.parquet"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"bars\.parquet: ") as caught:
        FileSource(path, "parquet").fetch()
    assert "\n" not in str(caught.value)


def test_a_parquet_file_with_a_damaged_middle(tmp_path, rows_of):
    path = tmp_path / "bars.parquet"
    rows_of("A", "B", sessions=50).write_parquet(path)
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read as parquet") as caught:
        FileSource(path, "parquet").fetch()
    assert "\n" not in str(caught.value)

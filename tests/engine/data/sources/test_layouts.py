from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest
from places import DATA

from engine.data import load_market
from engine.data.__main__ import main
from engine.data.sources import FileSource
from engine.data.store import PriceStore
from engine.errors import UsageError

FILES = DATA / "bars" / "vendors"
DAYS = [date(2018, 1, 2), date(2018, 1, 3)]


def read(name: str, **given) -> pl.DataFrame:
    rows = FileSource(FILES / name, "csv", zone="America/New_York", **given).fetch().bars
    return rows.sort("ts" if "ts" in rows.columns else "date")


@pytest.mark.parametrize(
    ("name", "ticker", "factors"),
    [
        ("AAA.yahoo.csv", "AAA.yahoo", [0.9, 1.0]),
        ("AAA.yfinance.csv", "AAA.yfinance", [0.9, 1.0]),
        ("AAA.stooq.csv", "AAA.stooq", [1.0, 1.0]),
        ("stooq_bulk.txt", "AAA.US", [1.0, 1.0]),
        ("AAA.alphavantage.csv", "AAA.alphavantage", [0.9, 1.0]),
        ("qlib.csv", "AAA", [0.9, 1.0]),
    ],
)
def test_daily_layouts(name, ticker, factors):
    bars = read(name)
    assert bars["ticker"].unique().to_list() == [ticker]
    assert bars["date"].to_list() == DAYS
    # As traded: where a vendor gives adjusted prices and the factor, it is undone.
    assert bars["close"].to_list() == pytest.approx([10.0, 11.0])
    assert bars["high"].to_list() == pytest.approx([11.0, 11.5])
    assert bars["volume"].to_list() == pytest.approx([1000.0, 2000.0])
    assert bars["adj_factor"].to_list() == pytest.approx(factors)


@pytest.mark.parametrize(
    "name",
    ["AAA.yfinance_5m.csv", "stooq_bulk_5m.txt", "AAA.alphavantage_5m.csv", "AAA.kronos.csv"],
)
def test_intraday_layouts(name):
    bars = read(name)
    assert bars["ts"].dt.strftime("%Y-%m-%d %H:%M").to_list() == [
        "2018-01-02 14:30",
        "2018-01-02 14:35",
    ]
    assert bars["close"].to_list() == [10.0, 11.0]


def test_kronos_files_keep_their_amount():
    assert read("AAA.kronos.csv")["amount"].to_list() == [10500.0, 21500.0]


def odd(tmp_path) -> Path:
    path = tmp_path / "odd.csv"
    path.write_text(
        "when,code,first,top,bottom,last\n2018-01-02,A,10,11,9,10\n2018-01-03,A,10,12,9,11\n"
    )
    return path


COLUMNS = {
    "date": "when",
    "ticker": "code",
    "open": "first",
    "high": "top",
    "low": "bottom",
    "close": "last",
}


def test_other_names_are_given_as_columns(tmp_path, request_of):
    market = load_market(request_of("csv", odd(tmp_path), columns=COLUMNS))
    assert market.bars["close"].to_list() == [10.0, 11.0]
    with pytest.raises(
        UsageError, match=r"has no column `final` \(data\.columns\.close\); it has when, code"
    ):
        load_market(request_of("csv", odd(tmp_path), columns={**COLUMNS, "close": "final"}))


def test_columns_are_a_block_of_the_configuration_and_flags(tmp_path):
    config = tmp_path / "odd.yaml"
    lines = "".join(f"    {new}: {old}\n" for new, old in COLUMNS.items() if new != "close")
    config.write_text(f"data:\n  columns:\n{lines}")
    store = tmp_path / "s.duckdb"
    command = [
        "import",
        str(odd(tmp_path)),
        "--config",
        str(config),
        "--data.columns.close",
        "last",
    ]
    assert main([*command, "--data.store", str(store)]) == 0
    assert PriceStore.open(store).bars()["high"].to_list() == [11.0, 12.0]


def test_a_column_named_by_the_contract_comes_before_a_vendors(tmp_path):
    path = tmp_path / "both.csv"
    path.write_text("symbol,ticker,Close,close,date,open,high,low\nX,A,1,10,2018-01-02,10,10,10\n")
    bars = FileSource(path, "csv").fetch().bars
    assert bars.select("ticker", "close").row(0) == ("A", 10.0)

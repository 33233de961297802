from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from engine_data_standin import serve

from engine.data.__main__ import main
from engine.data.sources.alpaca import AlpacaSource
from engine.data.sources.network import Retries, SourceUnavailableError
from engine.data.store import PriceStore
from engine.errors import UsageError

DAYS = ["2020-08-27", "2020-08-28", "2020-08-31", "2020-09-01"]
CLOSE = [500.0, 499.2, 129.0, 134.2]


def bar(day: str, close: float, clock: str = "T04:00:00Z") -> dict:
    return {"t": day + clock, "o": close, "h": close + 1, "l": close - 1, "c": close, "v": 100, "n": 5, "vw": close - 0.5}  # fmt: skip


SPLIT = {"symbol": "AAPL", "new_rate": 4, "old_rate": 1, "ex_date": "2020-08-31", "process_date": "2020-08-31", "id": "x"}  # fmt: skip
DIVIDEND = {"symbol": "AAPL", "rate": 0.82, "ex_date": "2020-08-28", "id": "y", "special": False, "foreign": False}  # fmt: skip


def answer(path, query):
    """Two pages of bars, and the corporate actions."""
    if path == "/v2/stocks/bars":
        symbol = query["symbols"]
        if query["timeframe"] == "5Min":
            return 200, {"bars": {symbol: [bar(DAYS[0], 500.0, "T13:30:00Z"), bar(DAYS[0], 501.0, "T13:35:00Z")]}, "next_page_token": None}  # fmt: skip
        first = query.get("page_token") is None
        rows = [bar(day, close) for day, close in zip(DAYS, CLOSE, strict=True)]
        token = "more" if first else None
        return 200, {"bars": {symbol: rows[:3] if first else rows[3:]}, "next_page_token": token}
    if path == "/v1/corporate-actions":
        found = {"forward_splits": [SPLIT], "cash_dividends": [DIVIDEND]}
        return 200, {"corporate_actions": found, "next_page_token": None}
    if path == "/v1beta3/crypto/us/bars":
        rows = [bar(day, 100.0, "T00:00:00Z") for day in ("2020-08-29", "2020-08-30")]
        return 200, {"bars": {query["symbols"]: rows}, "next_page_token": None}
    return 404, {"message": "not found"}


@pytest.fixture(autouse=True)
def keys(monkeypatch, tmp_path):
    monkeypatch.setenv("APCA_API_KEY_ID", "key of a test")
    monkeypatch.setenv("APCA_API_SECRET_KEY", "secret of a test")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def quick(url: str, **given) -> AlpacaSource:
    return AlpacaSource(
        url=url, retries=Retries(attempts=3, first_wait_s=0.0, per_minute=1e9), **given
    )


def test_daily_bars_over_pages_and_actions():
    with serve(answer) as side:
        got = quick(side.url).fetch(["AAPL"], date(2020, 8, 27), date(2020, 9, 1))
    assert got.bars["date"].to_list() == [date.fromisoformat(day) for day in DAYS]
    assert got.bars["close"].to_list() == CLOSE
    assert got.bars["amount"].to_list() == [100 * (close - 0.5) for close in CLOSE]
    assert sorted(got.actions.rows()) == [
        ("AAPL", date(2020, 8, 28), "dividend", 0.82, False),
        ("AAPL", date(2020, 8, 31), "split", 4.0, False),
    ]
    asked = [query for path, query in side.asked if path == "/v2/stocks/bars"]
    assert [query.get("page_token") for query in asked] == [None, "more"]
    assert asked[0]["adjustment"] == "raw"
    assert asked[0]["end"].startswith("2020-09-02T00:00:00")
    assert side.headers[0]["APCA-API-KEY-ID"] == "key of a test"


def test_intraday_bars_and_coins():
    with serve(answer) as side:
        fives = quick(side.url, bar="5m").fetch(["AAPL"]).bars
        assert fives["ts"].dt.strftime("%H:%M").to_list() == ["13:30", "13:35"]
        coins = quick(side.url).fetch(["BTC/USD"]).bars
        assert coins["date"].to_list() == [date(2020, 8, 29), date(2020, 8, 30)]


def test_a_server_that_fails_is_asked_again_and_one_that_refuses_is_not():
    failures = [2]

    def shaky(path, query):
        if failures[0]:
            failures[0] -= 1
            return 500, {"message": "busy"}
        return answer(path, query)

    with serve(shaky) as side:
        assert quick(side.url).fetch(["AAPL"]).bars.height == 4
    with (
        serve(lambda *_: (500, {"message": "busy"})) as side,
        pytest.raises(
            SourceUnavailableError,
            match=r"alpaca: AAPL: gave up after 3 attempts .*0 of 1 tickers are kept",
        ),
    ):
        quick(side.url).fetch(["AAPL"])
    with serve(lambda *_: (403, {"message": "forbidden."})) as side:
        with pytest.raises(UsageError, match=r"alpaca: AAPL: refused \(.*forbidden"):
            quick(side.url).fetch(["AAPL"])
        assert len(side.asked) == 1


def test_a_missing_key(monkeypatch):
    monkeypatch.delenv("APCA_API_KEY_ID")
    with pytest.raises(UsageError, match="needs the environment variable APCA_API_KEY_ID"):
        AlpacaSource()


def test_imported_bars_are_adjusted_by_their_actions(monkeypatch, tmp_path):
    path = tmp_path / "prices.duckdb"
    with serve(answer) as side:
        monkeypatch.setenv("APCA_API_DATA_URL", side.url)
        command = [
            "import",
            "--data.source",
            "alpaca",
            "--data.universe",
            "AAPL",
            "--data.store",
            str(path),
        ]
        assert main(command) == 0
    adjusted = pl.col("close") * pl.col("adj_factor")
    bars = PriceStore.open(path).bars().with_columns(close=adjusted)
    returns = bars["close"].pct_change().drop_nulls().to_list()
    # The dividend of 0.82 after a close of 500, then the split.
    assert returns == pytest.approx(
        [499.2 / (500 - 0.82) - 1, 129.0 * 4 / 499.2 - 1, 134.2 / 129 - 1]
    )

from __future__ import annotations

import builtins
from datetime import UTC, date, datetime

import polars as pl
import pytest
import requests
from engine_data_standin import serve
from requests.adapters import HTTPAdapter

from engine.data.__main__ import main
from engine.data.sources.network import Retries, SourceUnavailableError
from engine.data.sources.yahoo import YahooSource
from engine.errors import UsageError

DAYS = [date(2020, 8, 27), date(2020, 8, 28), date(2020, 8, 31), date(2020, 9, 1)]
OPEN = [int(datetime(d.year, d.month, d.day, 13, 30, tzinfo=UTC).timestamp()) for d in DAYS]


def chart(symbol: str, interval: str = "1d", **events) -> dict:
    """The answer of Yahoo's chart endpoint, as its page delivers it."""
    times = OPEN if interval == "1d" else [OPEN[0] + 300 * i for i in range(4)]
    close = [125.0, 124.8, 129.0, 134.2]
    meta = {
        "currency": "USD", "symbol": symbol, "exchangeName": "NMS", "instrumentType": "EQUITY",
        "firstTradeDate": OPEN[0], "gmtoffset": -14400, "timezone": "EDT", "priceHint": 2,
        "exchangeTimezoneName": "America/New_York", "dataGranularity": interval, "range": "",
        "regularMarketTime": OPEN[-1] + 23400, "regularMarketPrice": 134.2,
        "currentTradingPeriod": {name: {"timezone": "EDT", "start": OPEN[-1], "end": OPEN[-1] + 23400, "gmtoffset": -14400} for name in ("pre", "regular", "post")},
        "validRanges": ["1d", "5d", "1mo", "max"],
    }  # fmt: skip
    if interval != "1d":
        meta["tradingPeriods"] = [
            [{"timezone": "EDT", "start": OPEN[0], "end": OPEN[0] + 23400, "gmtoffset": -14400}]
        ]
    quote = {"open": close, "high": [c + 1 for c in close], "low": [c - 1 for c in close], "close": close, "volume": [100, 200, 300, 400]}  # fmt: skip
    indicators = {"quote": [quote]}
    if interval == "1d":
        indicators["adjclose"] = [{"adjclose": [c * 0.98 for c in close[:2]] + close[2:]}]
    result = {"meta": meta, "timestamp": times, "indicators": indicators, "events": events}
    return {"chart": {"result": [result], "error": None}}


class ToLoopback(HTTPAdapter):
    """Sends what is meant for any host to the stand-in."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request, **given):
        request.url = self._url + "/" + request.url.split("/", 3)[3]
        return super().send(request, **given)


@pytest.fixture
def source(tmp_path):
    """source(answer, **given): a source whose requests a stand-in answers."""
    import yfinance

    yfinance.set_tz_cache_location(str(tmp_path / "cache"))
    opened = []

    def build(answer, **given):
        context = serve(answer)
        side = context.__enter__()
        opened.append(context)
        session = requests.Session()
        session.mount("https://", ToLoopback(side.url))
        quick = Retries(attempts=4, first_wait_s=0.0, per_minute=1e9)
        built = YahooSource(session=session, retries=quick, downloads=tmp_path / "d", **given)
        return built, side

    yield build
    for context in opened:
        context.__exit__(None, None, None)


def charts(content=chart):
    def answer(path, query):
        if "/v8/finance/chart/" in path:
            return 200, content(path.rsplit("/", 1)[1], query.get("interval", "1d"))
        return 200, "crumb"

    return answer


def test_daily_bars_with_their_factors_and_actions(source):
    def content(symbol, interval):
        return chart(
            symbol, interval,
            splits={str(OPEN[2]): {"date": OPEN[2], "numerator": 4.0, "denominator": 1.0, "splitRatio": "4:1"}},
            dividends={str(OPEN[1]): {"amount": 0.205, "date": OPEN[1]}},
        )  # fmt: skip

    yahoo, side = source(charts(content))
    got = yahoo.fetch(["AAPL"], DAYS[0], DAYS[-1])
    bars = got.bars
    assert bars["date"].to_list() == DAYS
    assert bars["ticker"].unique().to_list() == ["AAPL"]
    assert bars["close"].to_list() == [125.0, 124.8, 129.0, 134.2]
    assert bars["adj_factor"].to_list() == pytest.approx([0.98, 0.98, 1.0, 1.0])
    assert sorted(got.actions.rows()) == [
        ("AAPL", DAYS[1], "dividend", 0.205, True),
        ("AAPL", DAYS[2], "split", 4.0, True),
    ]
    asked = [query for path, query in side.asked if path.endswith("/AAPL") and "period1" in query]
    assert len(asked) == 1
    # An end that is left out, in New York: the day after the last one asked for.
    assert int(asked[0]["period2"]) == int(datetime(2020, 9, 2, 4, tzinfo=UTC).timestamp())
    assert (yahoo.tickers(), yahoo.span()) == (["AAPL"], (DAYS[0], DAYS[-1]))


def test_intraday_bars_begin_in_utc(source):
    yahoo, _ = source(charts(), bar="5m")
    bars = yahoo.fetch(["AAPL"], DAYS[0], DAYS[0]).bars
    assert bars["ts"].dt.strftime("%Y-%m-%d %H:%M").to_list() == [
        f"2020-08-27 13:{m}" for m in (30, 35, 40, 45)
    ]
    assert bars.schema["ts"] == pl.Datetime("us", "UTC")


def test_a_server_that_fails_for_a_while(source):
    # Yahoo's client asks twice when an answer is bad; ours asks again after that.
    bad = [5]

    def answer(path, query):
        if "period1" in query and bad[0]:
            bad[0] -= 1
            return 503, "busy"
        return charts()(path, query)

    yahoo, _ = source(answer)
    assert yahoo.fetch(["MSFT"], DAYS[0], DAYS[-1]).bars.height == 4
    assert bad == [0]


def test_a_server_that_does_not_come_back(source):
    down = [True]

    def answer(path, query):
        if down[0] and path.endswith("/B") and "period1" in query:
            return 503, "busy"
        return charts()(path, query)

    yahoo, side = source(answer)
    with pytest.raises(
        SourceUnavailableError,
        match=r"yfinance: B: gave up after 4 attempts .*1 of 2 tickers are kept",
    ):
        yahoo.fetch(["A", "B"], DAYS[0], DAYS[-1])
    down[0] = False
    before = len(side.asked)
    assert yahoo.fetch(["A", "B"], DAYS[0], DAYS[-1]).bars.height == 8
    assert not [path for path, _ in side.asked[before:] if path.endswith("/A")]


def test_a_ticker_it_does_not_know(source):
    def answer(path, query):
        if path.endswith("/NONE"):
            return 404, {"chart": {"result": None, "error": {"code": "Not Found", "description": "No data found, symbol may be delisted"}}}  # fmt: skip
        return charts()(path, query)

    yahoo, _ = source(answer)
    got = yahoo.fetch(["NONE", "A"], DAYS[0], DAYS[-1])
    assert got.bars["ticker"].unique().to_list() == ["A"]


def test_tickers_must_be_named(source):
    yahoo, _ = source(charts())
    with pytest.raises(UsageError, match=r"data\.universe is required with data\.source yfinance"):
        yahoo.fetch()


def test_bars_it_does_not_have():
    with pytest.raises(UsageError, match=r"data\.bar: yfinance has no 7m bars"):
        YahooSource(bar="7m")


@pytest.mark.parametrize(
    ("kind", "package", "extra"), [("yfinance", "yfinance", "yahoo"), ("alpaca", "alpaca", "live")]
)
def test_a_missing_package_says_what_to_install(
    kind, package, extra, monkeypatch, capsys, tmp_path
):
    if kind == "yfinance":
        real = builtins.__import__

        def without(name, *given, **named):
            if name.split(".")[0] == package:
                raise ImportError(name)
            return real(name, *given, **named)

        monkeypatch.setattr(builtins, "__import__", without)
    else:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    store = ["--data.store", str(tmp_path / "s.duckdb")]
    assert main(["import", "--data.source", kind, "--data.universe", "A", *store]) == 2
    assert f"pip install 'kronos-engine[{extra}]' -c constraints.txt" in capsys.readouterr().err

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from engine.data import load_market
from engine.data.sources import EmbeddedSource

SPLITS = [
    ("AAPL", date(2000, 6, 21), 2.0),
    ("AAPL", date(2005, 2, 28), 2.0),
    ("MSFT", date(2003, 2, 18), 2.0),
]


@pytest.fixture(scope="module")
def source() -> EmbeddedSource:
    return EmbeddedSource()


@pytest.fixture
def market(request_of):
    return load_market(request_of(benchmark="NASDAQ"))


def test_stocks_and_span(source):
    assert source.tickers() == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    assert source.span() == (date(2000, 3, 1), date(2013, 3, 1))


def test_every_row_is_good(market, nyse):
    assert market.bars.height == 12154
    assert market.quarantine.is_empty()
    assert market.drops == {}
    assert market.tickers == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    assert market.last_session == date(2013, 3, 1)
    # No session is missing between the first and the last bar of any stock.
    spans = market.bars.group_by("ticker").agg(
        first=pl.col("date").min(), last=pl.col("date").max(), n=pl.len()
    )
    for row in spans.iter_rows(named=True):
        assert row["n"] == len(nyse.sessions(row["first"], row["last"]))


def test_facebook_is_there_once_listed(market):
    assert market.bars.filter(pl.col("ticker") == "FB")["date"].min() == date(2012, 5, 18)


@pytest.mark.parametrize(("ticker", "day", "ratio"), SPLITS)
def test_splits_are_in_the_record_and_adjusted_away(market, ticker, day, ratio):
    bars = market.bars.filter(pl.col("ticker") == ticker)
    factor = (pl.col("adj_factor") / pl.col("adj_factor").shift(1)).alias("factor")
    raw = (pl.col("close") / pl.col("close").shift(1) - 1).alias("raw")
    on_day = bars.with_columns(factor, raw).filter(pl.col("date") == day)
    assert on_day["factor"].item() == pytest.approx(ratio, rel=1e-6)
    assert on_day["raw"].item() < -0.4
    closes = market.adjusted().filter(pl.col("ticker") == ticker)
    change = closes.select("date", change=pl.col("close") / pl.col("close").shift(1) - 1)
    assert abs(change.filter(pl.col("date") == day)["change"].item()) < 0.3


@pytest.mark.parametrize(("ticker", "day", "ratio"), SPLITS)
def test_volume_follows_the_number_of_shares(market, ticker, day, ratio):
    bars = market.bars.filter(pl.col("ticker") == ticker)
    before = bars.filter(pl.col("date") < day).tail(250)["volume"].median()
    after = bars.filter(pl.col("date") > day).head(250)["volume"].median()
    assert after / before > 0.6 * ratio


def test_prices_are_recorded_and_adjusted_on_request(market):
    first = market.bars.row(0, named=True)
    assert (first["ticker"], first["date"], first["close"]) == ("AAPL", date(2000, 3, 1), 130.31)
    assert market.adjusted()["close"][0] == pytest.approx(4.186662803811)
    assert market.adjusted()["volume"][0] == pytest.approx(9616100 / (4.186662803811 / 130.31))


def test_the_benchmark_is_an_index_and_no_candidate(market):
    assert market.benchmark.columns == ["date", "open", "close"]
    assert market.benchmark["date"].min() == date(1999, 1, 4)
    assert market.benchmark["date"].is_sorted()
    assert market.benchmark["close"][0] == 2208.050049


def test_every_index_is_offered(source, request_of):
    series = source.fetch().series
    assert list(series) == ["NASDAQ", "SP500", "VIX"]
    market = load_market(request_of(benchmark="SP500", volatility_index="VIX"))
    assert market.volatility_index.columns == ["date", "close"]
    # The index is not quoted on the exchange's holidays: counted, not kept.
    assert market.drops == {"quarantined: not a session": 46}

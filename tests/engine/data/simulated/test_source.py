from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from engine.config import load_settings
from engine.data.market import load_market
from engine.data.simulated import INDEX, VOLATILITY, SimulatedSource
from engine.errors import UsageError

FLAGS = {
    "data.source": "simulated",
    "data.simulated.n_tickers": "12",
    "data.simulated.end": "2013-12-31",
    "data.benchmark": INDEX,
    "data.volatility_index": VOLATILITY,
}


def load(**flags):
    chosen = {**FLAGS, **{key.replace("__", "."): value for key, value in flags.items()}}
    return load_market(load_settings(chosen, environment={}).data)


def test_the_settings_name_a_market():
    market = load()
    assert "S0000" in market.tickers
    assert INDEX not in market.tickers
    assert market.benchmark is not None
    assert market.benchmark["date"].max() == date(2013, 12, 31)
    assert market.volatility_index is not None
    assert not market.drops
    assert load().data_hash == market.data_hash
    assert load(data__simulated__seed="5").data_hash != market.data_hash


def test_a_part_of_the_market_is_the_same_part():
    whole = load()
    part = load(data__universe="S0001,S0007", data__start="2011-06-01", data__end="2012-05-31")
    wanted = pl.col("ticker").is_in(["S0001", "S0007"])
    between = pl.col("date").is_between(date(2011, 6, 1), date(2012, 5, 31))
    assert part.bars.equals(whole.bars.filter(wanted, between))


def test_names_it_does_not_have():
    with pytest.raises(UsageError, match="has no 'S0012'; the nearest is 'S0011'"):
        load(data__universe="S0001,S0012")
    with pytest.raises(UsageError, match=r"data\.simulated\.start 2015-01-05 is after"):
        load(data__simulated__start="2015-01-05")


def test_what_the_source_holds(calendar):
    settings = load_settings(FLAGS, environment={}).data.simulated
    source = SimulatedSource(settings, calendar)
    whole = source.fetch()
    assert whole.series.keys() == {INDEX, VOLATILITY}
    assert source.span() == (date(2010, 1, 4), date(2013, 12, 31))
    assert len(source.tickers()) == 12
    assert set(whole.members["ticker"]) == set(whole.bars["ticker"])


def test_the_shipped_configuration_names_about_a_hundred_at_a_time():
    data = load_settings({}, config="simulated.yaml", environment={}).data
    market = load_market(data)
    names = market.bars.group_by("date").len()["len"]
    assert names.min() >= 90  # type: ignore[operator]
    assert names.max() <= 125  # type: ignore[operator]
    assert market.benchmark is not None

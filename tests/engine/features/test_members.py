"""Who is compared: the members of a date, not whoever will join later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.data import Market
from engine.data.source import MEMBERS
from engine.features import classify_regimes, market_features
from engine.features.factors import FACTORS
from engine.features.index import equal_weight_index

NAMES = list(FACTORS)
JOINED = 580


@pytest.fixture(scope="module")
def market(random_market) -> Market:
    """C has bars from the beginning and joins at the session JOINED; no benchmark, no index."""
    days = random_market.bars["date"].unique().sort()
    spans = [("A", days[0], None), ("B", days[0], None), ("C", days[JOINED], None)]
    members = pl.DataFrame(spans, schema=MEMBERS, orient="row")
    return replace(random_market, benchmark=None, volatility_index=None, members=members)


@pytest.fixture(scope="module")
def spoiled(market) -> Market:
    """Noise instead of what C did before it joined."""
    rng = np.random.default_rng(3)
    early = (pl.col("ticker") == "C") & (pl.col("date") < market.members["from"][2])
    noise = pl.Series(rng.uniform(1, 1000, market.bars.height))
    return replace(
        market, bars=market.bars.with_columns(close=pl.when(early).then(noise).otherwise("close"))
    )


def test_what_a_ticker_did_before_it_joined_moves_no_other(market, spoiled):
    others = pl.col("ticker") != "C"
    plain, other = (market_features(m, NAMES).filter(others) for m in (market, spoiled))
    compared = [n for n in NAMES if FACTORS[n].zscore_of]
    early = pl.col("date") < market.members["from"][2]
    assert_frame_equal(plain.filter(early), other.filter(early), check_exact=True)
    for name in compared:
        assert plain.filter(early)[name].count() > 0
    unaware = market_features(replace(spoiled, members=None), NAMES).filter(others, early)
    for name in (*compared, "beta_252"):
        assert not plain.filter(early)[name].equals(unaware[name])


def test_nor_the_regimes(market, spoiled):
    asofs = market.bars["date"].unique().sort()[280:JOINED].to_list()
    assert_frame_equal(classify_regimes(market, asofs), classify_regimes(spoiled, asofs))
    unaware = classify_regimes(replace(spoiled, members=None), asofs)
    assert not classify_regimes(market, asofs).equals(unaware)


@pytest.mark.parametrize("name", [name for name in NAMES if FACTORS[name].zscore_of])
def test_a_zscore_is_beside_the_members_for_everybody(market, name):
    factor = FACTORS[name].zscore_of
    found = market_features(market, [name, factor]).drop_nulls(factor)
    joined = market.members["from"][2]
    for (day,), group in found.group_by("date"):
        inside = group.filter((pl.col("ticker") != "C") | (pl.lit(day) >= joined))[factor]
        if len(inside) < 2:
            assert group[name].null_count() == group.height
        else:
            values = inside.to_numpy()
            expected = (group[factor].to_numpy() - values.mean()) / values.std(ddof=1)
            assert group[name].to_numpy() == pytest.approx(expected, abs=1e-9)


def test_the_index_holds_members(market_of):
    bars = market_of({"A": [100.0, 110.0, 110.0], "B": [50.0, 45.0, 90.0]}).bars
    days = bars["date"].unique().sort()
    spans = [("A", days[0], None), ("B", days[2], None)]
    index = equal_weight_index(bars, pl.DataFrame(spans, schema=MEMBERS, orient="row"))
    assert index["close"].to_list() == pytest.approx([1.0, 1.1, 1.1 * 1.5])

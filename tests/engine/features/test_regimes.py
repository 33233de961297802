from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

from engine.features import classify_regimes


def name_of(percentile: float) -> str:
    return "low" if percentile <= 33 else "mid" if percentile <= 67 else "high"


def days_of(market, *positions: int) -> list:
    days = market.bars["date"].unique().sort()
    return [days[at] for at in positions]


def equal_weight(market) -> np.ndarray:
    """Index of the mean daily return, by a pivot and NumPy."""
    wide = market.bars.pivot(on="ticker", index="date", values="close").sort("date")
    level = []
    closes = {t: None for t in market.tickers}
    value = 1.0
    for row in wide.iter_rows(named=True):
        changes = []
        for ticker in closes:
            price = row[ticker]
            if price is not None:
                if closes[ticker] is not None:
                    changes.append(price / closes[ticker] - 1)
                closes[ticker] = price
        value *= 1 + (np.mean(changes) if changes else 0.0)
        level.append(value)
    return np.array(level)


def realised(closes: np.ndarray, at: int) -> float:
    part = closes[at - 20 : at + 1]
    return float(np.std(part[1:] / part[:-1] - 1, ddof=1))


@pytest.mark.parametrize("kind", ["volatility index", "benchmark", "universe"])
def test_against_scipy(random_market, kind):
    market = random_market
    if kind != "volatility index":
        market = replace(market, volatility_index=None)
    if kind == "universe":
        market = replace(market, benchmark=None)
    index = equal_weight(market) if kind == "universe" else market.benchmark["close"].to_numpy()
    positions = [300, 350, 400, 450, 500, 599]
    regimes = classify_regimes(market, days_of(market, *positions))
    assert regimes.columns == ["asof", "volatility_regime", "trend_regime"]
    for at, row in zip(positions, regimes.iter_rows(named=True), strict=True):
        if kind == "volatility index":
            window = market.volatility_index["close"].to_numpy()[at - 251 : at + 1]
        else:
            window = np.array([realised(index, i) for i in range(at - 251, at + 1)])
        percentile = 100 * stats.rankdata(window)[-1] / 252
        assert row["volatility_regime"] == name_of(percentile)
        assert row["trend_regime"] == ("bull" if index[at] / index[at - 20] - 1 > 0 else "bear")


def test_each_regime_occurs(random_market):
    regimes = classify_regimes(random_market, random_market.bars["date"].unique().to_list())
    assert set(regimes["volatility_regime"].drop_nulls()) == {"low", "mid", "high"}
    assert set(regimes["trend_regime"].drop_nulls()) == {"bull", "bear"}


def test_short_history_is_null(random_market):
    days = days_of(random_market, 0, 19, 20, 250, 251, 252)
    regimes = classify_regimes(random_market, days)
    assert regimes["trend_regime"].is_null().to_list() == [True, True] + [False] * 4
    assert regimes["volatility_regime"].is_null().to_list() == [True] * 4 + [False] * 2
    without = classify_regimes(
        replace(random_market, volatility_index=None), days_of(random_market, 270, 271)
    )
    assert without["volatility_regime"].is_null().to_list() == [True, False]


def test_no_regime_depends_on_the_future(random_market, with_noise_after):
    cut = days_of(random_market, 450)[0]
    asofs = days_of(random_market, 300, 400, 449, 450)
    for market in (
        random_market,
        replace(random_market, volatility_index=None),
        replace(random_market, volatility_index=None, benchmark=None),
    ):
        past = classify_regimes(market, asofs)
        assert_frame_equal(past, classify_regimes(with_noise_after(market, cut), asofs))
        truncated = replace(
            market,
            bars=market.bars.filter(pl.col("date") <= cut),
            benchmark=None
            if market.benchmark is None
            else market.benchmark.filter(pl.col("date") <= cut),
            volatility_index=None
            if market.volatility_index is None
            else market.volatility_index.filter(pl.col("date") <= cut),
        )
        assert_frame_equal(past, classify_regimes(truncated, asofs))


def test_a_flat_benchmark_is_bear_and_mid(market_of):
    market = market_of({"A": [10.0] * 300}, benchmark=[(5.0, 5.0)] * 300)
    row = classify_regimes(market, days_of(market, 299)).row(0, named=True)
    assert (row["volatility_regime"], row["trend_regime"]) == ("mid", "bear")


def test_an_index_that_ended_says_nothing_of_later_dates(random_market):
    end = days_of(random_market, 400)[0]
    ended = replace(
        random_market,
        benchmark=random_market.benchmark.filter(pl.col("date") <= end),
        volatility_index=random_market.volatility_index.filter(pl.col("date") <= end),
    )
    days = days_of(random_market, 400, 404, 420)
    regimes = classify_regimes(ended, days)
    assert (days[1] - end) <= timedelta(12)
    assert regimes["trend_regime"].is_null().to_list() == [False, False, True]
    assert regimes["volatility_regime"].is_null().to_list() == [False, False, True]


def test_one_row_a_distinct_asof(random_market):
    first, second = days_of(random_market, 300, 310)
    regimes = classify_regimes(random_market, [second, first, second])
    assert regimes["asof"].to_list() == [first, second]

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.errors import UsageError
from engine.features import FACTORS, compute_features

NAMES = list(FACTORS)


def oracle(closes: np.ndarray, name: str, at: int) -> float | None:
    """The factor at bar `at`, read from its definition."""
    kind, window = name.split("_")
    bars = {"1m": 21, "3m": 63, "6m": 126, "12m": 252}.get(window) or int(window)
    if at < bars:
        return None
    if kind == "momentum":
        return closes[at] / closes[at - bars] - 1
    part = closes[at - bars : at + 1]
    return float(np.std(part[1:] / part[:-1] - 1, ddof=1) * np.sqrt(252))


@pytest.mark.parametrize("name", NAMES)
def test_against_the_definition_bar_by_bar(random_market, name):
    features = compute_features(random_market.bars, [name])
    for ticker in random_market.tickers:
        closes = random_market.bars.filter(pl.col("ticker") == ticker)["close"].to_numpy()
        values = features.filter(pl.col("ticker") == ticker)[name].to_list()
        for at in (0, 19, 20, 21, 62, 63, 126, 251, 252, 299):
            expected = oracle(closes, name, at)
            assert values[at] == (None if expected is None else pytest.approx(expected, rel=1e-9))


def test_columns_and_rows_follow_the_request(random_market):
    features = compute_features(random_market.bars, ["volatility_20", "momentum_1m"])
    assert features.columns == ["date", "ticker", "volatility_20", "momentum_1m"]
    assert features.select("date", "ticker").equals(random_market.bars.select("date", "ticker"))
    assert compute_features(random_market.bars, []).columns == ["date", "ticker"]


def test_no_factor_depends_on_the_future(random_market, with_noise_after):
    cut = random_market.bars["date"].unique().sort()[450]
    spoiled = with_noise_after(random_market, cut)
    before = pl.col("date") <= cut
    assert_frame_equal(
        compute_features(random_market.bars, NAMES).filter(before),
        compute_features(spoiled.bars, NAMES).filter(before),
        check_exact=True,
    )


def test_no_factor_changes_when_later_bars_are_cut_off(random_market):
    cut = random_market.bars["date"].unique().sort()[450]
    before = pl.col("date") <= cut
    assert_frame_equal(
        compute_features(random_market.bars, NAMES).filter(before),
        compute_features(random_market.bars.filter(before), NAMES),
        check_exact=True,
    )


@pytest.mark.parametrize("factor", [0.5, 1 / 3, 28.0])
def test_a_later_split_or_dividend_changes_no_earlier_factor(random_market, factor):
    """A later action multiplies every earlier adj_factor by one constant."""
    acted = random_market.bars.with_columns(adj_factor=pl.col("adj_factor") * factor)
    assert_frame_equal(
        compute_features(random_market.bars, NAMES),
        compute_features(acted, NAMES),
        rel_tol=1e-9,
        abs_tol=1e-12,
    )


def test_a_split_inside_the_window_is_no_return(market_of):
    plain = market_of({"A": [100.0] * 30})
    split = market_of({"A": [200.0] * 15 + [100.0] * 15}, factors={"A": [0.5] * 15 + [1.0] * 15})
    for market in (plain, split):
        last = compute_features(market.bars, ["momentum_1m", "volatility_20"]).row(-1, named=True)
        assert last["momentum_1m"] == 0.0
        assert last["volatility_20"] == 0.0


def test_tickers_do_not_touch_each_other(random_market):
    alone = random_market.bars.filter(pl.col("ticker") == "B")
    together = compute_features(random_market.bars, NAMES).filter(pl.col("ticker") == "B")
    assert_frame_equal(compute_features(alone, NAMES), together, check_exact=True)


def test_windows_count_bars_over_a_halt(market_of):
    closes: list[float | None] = [float(100 + i) for i in range(40)]
    closes[25:35] = [None] * 10
    features = compute_features(market_of({"A": closes}).bars, ["momentum_1m"])
    assert features.height == 30
    assert features["momentum_1m"][-1] == pytest.approx(139 / 108 - 1)


def test_volatility_is_annualised_by_the_calendar(random_market):
    year, crypto = (
        compute_features(random_market.bars, ["volatility_20"], periods_per_year=periods)
        for periods in (252, 365)
    )
    ratio = (crypto["volatility_20"] / year["volatility_20"]).drop_nulls()
    assert ratio.to_numpy() == pytest.approx((365 / 252) ** 0.5)


def test_an_unknown_factor_names_the_nearest(random_market):
    with pytest.raises(UsageError) as caught:
        compute_features(random_market.bars, ["momentum_12"])
    assert str(caught.value) == (
        "features: unknown factor 'momentum_12'; the nearest is 'momentum_12m'"
    )


def test_no_bars(random_market):
    none = random_market.bars.filter(pl.col("date") < date(1990, 1, 1))
    assert compute_features(none, NAMES).height == 0

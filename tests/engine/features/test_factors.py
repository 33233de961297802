from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import engine.features.factors
from engine.errors import UsageError
from engine.features import FACTORS, compute_features, market_features
from engine.features.index import equal_weight_index

NAMES = list(FACTORS)
ALONE = [name for name, factor in FACTORS.items() if not factor.zscore_of and name != "beta_252"]
TOGETHER = [name for name in NAMES if name not in ALONE]
MONEY = [name for name, factor in FACTORS.items() if factor.reads == "money"]
YEAR = 252


@pytest.fixture(scope="module")
def market(random_market):
    """The random market with money that changes from day to day, and days without any."""
    rng = np.random.default_rng(11)
    money = rng.lognormal(10, 1, random_market.bars.height)
    money[rng.uniform(size=len(money)) < 0.03] = 0
    bars = random_market.bars.with_columns(amount=pl.Series(money))
    return replace(random_market, bars=bars)


def daily(closes: np.ndarray) -> np.ndarray:
    return closes[1:] / closes[:-1] - 1


def momentum(bars: int, skip: int = 0):
    return bars, lambda c, m, v: c[-1 - skip] / c[-1 - bars] - 1


def amihud(closes, _, money):
    ratios = [1e6 * abs(r) / v for r, v in zip(daily(closes), money[1:], strict=True) if v > 0]
    return np.mean(ratios) if len(ratios) >= 40 else None


def vol_of_vol(closes, _market, _money):
    r = daily(closes)
    return np.std([np.std(r[i : i + 20], ddof=1) for i in range(60)], ddof=1) * YEAR**0.5


# Bars before today's that a factor needs, and its value from closes, market and money up to today.
ORACLES = {
    "momentum_1m": momentum(21),
    "momentum_3m": momentum(63),
    "momentum_6m": momentum(126),
    "momentum_12m": momentum(252),
    "momentum_12_1": momentum(252, 21),
    "reversal_5": (5, lambda c, m, v: 1 - c[-1] / c[-6]),
    "volatility_20": (20, lambda c, m, v: np.std(daily(c)[-20:], ddof=1) * YEAR**0.5),
    "volatility_60": (60, lambda c, m, v: np.std(daily(c)[-60:], ddof=1) * YEAR**0.5),
    "vol_of_vol_60": (79, vol_of_vol),
    "drawdown_60": (59, lambda c, m, v: c[-1] / max(c[-60:]) - 1),
    "adv_20": (19, lambda c, m, v: np.mean(v[-20:])),
    "adv_60": (59, lambda c, m, v: np.mean(v[-60:])),
    "amihud_60": (60, amihud),
    "beta_252": (252, lambda c, m, v: np.cov(daily(c), daily(m))[0, 1] / np.var(daily(m), ddof=1)),
}


def test_every_factor_has_an_oracle_a_formula_and_a_source():
    assert set(ORACLES) == {name for name, factor in FACTORS.items() if not factor.zscore_of}
    for factor in FACTORS.values():
        assert factor.formula
        assert factor.source[-4:].isdigit()


@pytest.mark.parametrize("name", ORACLES)
def test_against_the_definition_bar_by_bar(market, name):
    before, value = ORACLES[name]
    features = market_features(market, [name])
    index = market.benchmark.select("date", market="close")
    for ticker in market.tickers:
        own = market.bars.filter(pl.col("ticker") == ticker).join(index, on="date", how="left")
        columns = own.select("close", "market", "amount").to_numpy().T
        values = features.filter(pl.col("ticker") == ticker)[name].to_list()
        for at in (0, 5, 18, 19, 20, 21, 58, 59, 60, 79, 126, 251, 252, 270, 299):
            part = columns[:, max(at - before, 0) : at + 1]
            expected = value(*part) if at >= before else None
            assert values[at] == (None if expected is None else pytest.approx(expected, rel=1e-7))


@pytest.mark.parametrize("name", [name for name in NAMES if FACTORS[name].zscore_of])
def test_a_zscore_compares_the_tickers_of_a_date(market, name):
    plain = FACTORS[name].zscore_of
    found = market_features(market, [name, plain]).drop_nulls(plain)
    for _, group in found.group_by("date"):
        values = group[plain].to_numpy()
        if len(values) == 1:
            assert group[name].to_list() == [None]
        else:
            expected = (values - values.mean()) / values.std(ddof=1)
            assert group[name].to_numpy() == pytest.approx(expected, abs=1e-9)


def test_columns_and_rows_follow_the_request(market):
    features = compute_features(market.bars, ["volatility_20", "momentum_1m"])
    assert features.columns == ["date", "ticker", "volatility_20", "momentum_1m"]
    assert features.select("date", "ticker").equals(market.bars.select("date", "ticker"))
    assert compute_features(market.bars, []).columns == ["date", "ticker"]


@pytest.mark.parametrize("name", NAMES)
def test_no_factor_depends_on_the_future(market, with_noise_after, name):
    cut = market.bars["date"].unique().sort()[450]
    spoiled = with_noise_after(market, cut)
    before = pl.col("date") <= cut
    for benchmark, spoiled_benchmark in (
        (market.benchmark, spoiled.benchmark),
        (None, None),
    ):
        real = compute_features(market.bars, [name], benchmark=benchmark)
        noise = compute_features(spoiled.bars, [name], benchmark=spoiled_benchmark)
        assert real.filter(before)[name].null_count() < real.filter(before).height
        assert_frame_equal(real.filter(before), noise.filter(before), check_exact=True)
        assert not real.equals(noise)


@pytest.mark.parametrize("name", NAMES)
def test_no_factor_changes_when_later_bars_are_cut_off(market, name):
    before = pl.col("date") <= market.bars["date"].unique().sort()[450]
    assert_frame_equal(
        compute_features(market.bars, [name]).filter(before),
        compute_features(market.bars.filter(before), [name]),
        check_exact=True,
    )


@pytest.mark.parametrize("factor", [0.5, 1 / 3, 28.0])
def test_a_later_split_or_dividend_changes_no_earlier_factor(market, factor):
    """A later action multiplies every earlier adj_factor by one constant."""
    acted = market.bars.with_columns(adj_factor=pl.col("adj_factor") * factor)
    assert_frame_equal(
        compute_features(market.bars, NAMES),
        compute_features(acted, NAMES),
        rel_tol=1e-8,
        abs_tol=1e-12,
    )


def test_only_money_knows_the_level_of_prices(market):
    """One ticker's whole history, prices and money, times a constant."""
    times = pl.when(pl.col("ticker") == "A").then(1000.0).otherwise(1.0)
    scaled = market.bars.with_columns(
        pl.col(name) * times for name in ("open", "high", "low", "close", "amount")
    )
    one = compute_features(market.bars, NAMES)
    other = compute_features(scaled, NAMES)
    rest = [name for name in NAMES if name not in MONEY]
    assert_frame_equal(one.select(rest), other.select(rest), rel_tol=1e-6, abs_tol=1e-12)
    for name in MONEY:
        assert name.startswith(("adv", "amihud"))
        ratio = (other[name] / one[name]).filter(one["ticker"] == "A").drop_nulls()
        assert ratio.to_numpy() == pytest.approx(0.001 if name.startswith("amihud") else 1000)


def test_a_split_inside_the_window_is_no_return(market_of):
    plain = market_of({"A": [100.0] * 30})
    split = market_of({"A": [200.0] * 15 + [100.0] * 15}, factors={"A": [0.5] * 15 + [1.0] * 15})
    for market in (plain, split):
        last = compute_features(market.bars, ["momentum_1m", "volatility_20"]).row(-1, named=True)
        assert last["momentum_1m"] == 0.0
        assert last["volatility_20"] == 0.0


def test_tickers_touch_each_other_only_where_they_are_compared(market):
    own = pl.col("ticker") == "B"
    alone = compute_features(market.bars.filter(own), NAMES)
    together = compute_features(market.bars, NAMES).filter(own)
    assert_frame_equal(alone.select(ALONE), together.select(ALONE), check_exact=True)
    for name in TOGETHER:
        assert not alone[name].equals(together[name])


def test_beta_of_the_market_itself_is_one(market_of):
    closes = [100 * 1.01 ** (i % 7) for i in range(300)]
    market = market_of({"A": closes}, benchmark=[(1.0, 3 * close) for close in closes])
    beta = market_features(market, ["beta_252"])["beta_252"]
    assert beta[251] is None
    assert beta[252:].to_list() == pytest.approx([1.0] * 48)


def test_beta_against_a_flat_market_is_unknown(market_of):
    market = market_of(
        {"A": [float(100 + i % 5) for i in range(300)]}, benchmark=[(1.0, 7.0)] * 300
    )
    assert market_features(market, ["beta_252"])["beta_252"].null_count() == 300


def test_beta_spans_a_halt_on_both_sides(market_of):
    """Over missing bars the ticker's return and the market's run over the same sessions."""
    index = [100 * 1.02 ** (i % 5) for i in range(320)]
    closes: list[float | None] = [2 * level for level in index]
    closes[40:50] = [None] * 10
    market = market_of({"A": closes}, benchmark=[(1.0, level) for level in index])
    beta = market_features(market, ["beta_252"])["beta_252"].drop_nulls()
    assert beta.to_list() == pytest.approx([1.0] * (310 - 252))


def test_the_equal_weight_index_earns_the_mean_return(market_of):
    market = market_of({"A": [100.0, 110.0, 110.0], "B": [50.0, 45.0, None], "C": [None, 1.0, 1.5]})
    index = equal_weight_index(market.bars)
    assert index["close"].to_list() == pytest.approx([1.0, 1.0, 1.25])


def test_illiquidity_needs_days_that_traded(market_of):
    bars = market_of({"A": [float(100 + i % 2) for i in range(70)]}).bars.with_row_index()
    idle = bars.with_columns(amount=pl.when(pl.col("index") % 2 == 0).then(5.0).otherwise(0.0))
    assert compute_features(idle, ["amihud_60"])["amihud_60"].null_count() == 70


def test_windows_count_bars_over_a_halt(market_of):
    closes: list[float | None] = [float(100 + i) for i in range(40)]
    closes[25:35] = [None] * 10
    features = compute_features(market_of({"A": closes}).bars, ["momentum_1m"])
    assert features.height == 30
    assert features["momentum_1m"][-1] == pytest.approx(139 / 108 - 1)


@pytest.mark.parametrize("name", ["volatility_20", "vol_of_vol_60"])
def test_volatility_is_annualised_by_the_calendar(market, name):
    year, crypto = (
        compute_features(market.bars, [name], periods_per_year=periods) for periods in (252, 365)
    )
    ratio = (crypto[name] / year[name]).drop_nulls()
    assert ratio.to_numpy() == pytest.approx((365 / 252) ** 0.5)


def test_an_unknown_factor_names_the_nearest(market):
    with pytest.raises(UsageError) as caught:
        compute_features(market.bars, ["momentum_12"])
    assert str(caught.value).startswith("features: unknown factor 'momentum_12'; the nearest is")


def test_no_bars(market):
    none = market.bars.filter(pl.col("date") < date(1990, 1, 1))
    assert compute_features(none, NAMES).height == 0


@pytest.mark.parametrize("block", [1, 2])
def test_blocks_of_tickers_change_nothing(market, monkeypatch, block):
    whole = market_features(market, NAMES)
    monkeypatch.setattr(engine.features.factors, "_TICKERS_AT_A_TIME", block)
    assert_frame_equal(whole, market_features(market, NAMES), check_exact=True)

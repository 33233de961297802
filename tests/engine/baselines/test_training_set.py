from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from engine.baselines.fits import make_fit, plan_jobs, served_folds
from engine.baselines.training_set import build_training_set, distinct_factors
from engine.bench.private.noise import noise_market
from engine.features import compute_labels, market_features

FEATURES = ["momentum_1m", "volatility_20", "adv_20"]


@pytest.fixture(scope="module")
def market():
    return noise_market(0, names=12, sessions=504)


@pytest.fixture(scope="module")
def dates(market) -> list[date]:
    return market.calendar.rebalances(date(2012, 1, 1), date(2013, 12, 31), "weekly")


@pytest.fixture(scope="module")
def data(market, dates):
    return build_training_set(market, FEATURES, [5, 20], train_dates=dates, asofs=[])


def test_features_are_ranks_of_their_date(market, dates, data):
    features = market_features(market, FEATURES).filter(pl.col("date") == dates[30]).sort("ticker")
    rows = data.keys.filter(pl.col("asof") == dates[30])
    assert rows["ticker"].to_list() == features["ticker"].to_list()
    for column, name in enumerate(data.names):
        ranks = data.matrix[rows["row"].to_numpy(), column]
        order = np.argsort(np.argsort(features[name].to_numpy()))
        assert ranks == pytest.approx((order + 0.5) / 12 - 0.5, abs=1e-6)


def test_a_feature_that_is_not_known_yet_is_missing(data, dates):
    early = data.keys.filter(pl.col("asof") == dates[0])["row"].to_numpy()
    assert np.isnan(data.matrix[early]).all()
    assert not np.isnan(data.matrix[-12:]).any()


def test_labels_are_ranks_of_their_date_and_horizon(market, dates, data):
    labels = compute_labels(market, [dates[30]], [20])
    known = data.labels.filter(pl.col("asof") == dates[30], pl.col("horizon") == 20)
    assert known["matures"].unique().to_list() == labels["matures"].unique().to_list()
    order = np.argsort(np.argsort(labels["label"].to_numpy()))
    assert known["label"].to_numpy() == pytest.approx((order + 0.5) / 12 - 0.5, abs=1e-6)


def test_a_label_that_is_not_mature_is_none(data, market):
    late = data.labels.filter(pl.col("matures") > market.last_session)
    assert late.height > 0
    assert late["label"].null_count() == late.height


def test_a_zscore_beside_its_factor_is_the_same_rank_twice():
    names = ["momentum_1m", "momentum_1m_z", "momentum_3m_z", "adv_20"]
    assert distinct_factors(names) == ["momentum_1m", "momentum_3m_z", "adv_20"]


def test_every_asof_is_served_by_the_model_of_its_fold():
    asofs = [date(2019, 3, 29), date(2019, 3, 4), date(2019, 11, 1), date(2020, 1, 2)]
    assert served_folds(asofs, "monthly") == {
        "2019-03": [date(2019, 3, 4), date(2019, 3, 29)],
        "2019-11": [date(2019, 11, 1)],
        "2020-01": [date(2020, 1, 2)],
    }
    assert served_folds(asofs, "yearly") == {"2019-01": sorted(asofs)[:3], "2020-01": asofs[3:]}


@pytest.mark.parametrize("embargo", [0, 20, 60])
def test_a_fit_learns_only_from_labels_known_before_its_embargo(market, dates, data, embargo):
    asofs = [day for day in dates if day >= date(2013, 3, 1)]
    rules = {"calendar": market.calendar, "embargo_sessions": embargo}
    jobs = plan_jobs(data, asofs, [5, 20], refit="monthly", **rules)
    assert {job.fold for job in jobs} == {f"2013-{month:02d}" for month in range(3, 13)}
    matures = {
        h: dict(data.labels.filter(pl.col("horizon") == h).select("row", "matures").iter_rows())
        for h in (5, 20)
    }
    for job in jobs:
        fit = make_fit(data, job, half_life_sessions=100, **rules)
        assert len(fit.rows) == len(fit.target) == len(fit.weight) == job.training_rows > 0
        first = market.calendar.sessions(date.fromisoformat(f"{job.fold}-01"), job.asofs[-1])[0]
        last = max(matures[job.horizon][row] for row in fit.rows)
        assert market.calendar.offset(last, embargo) < first
        assert not set(fit.rows) & set(job.predict)


def test_weights_halve_with_age(market, dates, data):
    rules = {"calendar": market.calendar, "embargo_sessions": 0}
    job = plan_jobs(data, [date(2013, 6, 28)], [5], refit="monthly", **rules)[0]
    fit = make_fit(data, job, half_life_sessions=50, **rules)
    days = data.keys[fit.rows.astype(np.int64)]["asof"].to_list()
    at = len(market.calendar.sessions(days[-1], date(2013, 6, 3))) - 1
    assert fit.weight[-1] == pytest.approx(0.5 ** (at / 50))
    ages = [len(market.calendar.sessions(day, date(2013, 6, 3))) - 1 for day in days]
    assert fit.weight == pytest.approx(0.5 ** (np.array(ages) / 50), rel=1e-5)


def test_no_rank_of_a_date_knows_later_bars(market, dates):
    cut = dates[70]
    rng = np.random.default_rng(1)
    late = pl.col("date") > cut
    prices = [name for name, kind in market.bars.schema.items() if kind == pl.Float64]
    noise = market.bars.with_columns(
        pl.when(late)
        .then(pl.Series(rng.uniform(1, 9, market.bars.height)))
        .otherwise(name)
        .alias(name)
        for name in prices
    )
    other = replace(market, bars=noise)
    real, spoiled = (
        build_training_set(m, [*FEATURES, "beta_252"], [5], train_dates=dates, asofs=[])
        for m in (market, other)
    )
    before = real.keys.filter(pl.col("asof") <= cut).height
    assert np.array_equal(real.matrix[:before], spoiled.matrix[:before], equal_nan=True)
    known = pl.col("matures") <= cut
    assert real.labels.filter(known).equals(spoiled.labels.filter(known))
    assert not np.array_equal(real.matrix, spoiled.matrix, equal_nan=True)

from __future__ import annotations

import io
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

import engine.baselines.fitting
from backtest.statistics.ic import information_coefficient
from engine.baselines import LightGBMBaseline, run_baseline
from engine.bench.private.noise import noise_market
from engine.bench.private.purge import leak_study
from engine.config import Settings
from engine.config.settings import (
    BaselineSettings,
    EvaluationSettings,
    LightGBMSettings,
    RunSettings,
    ScoringSettings,
)
from engine.features import compute_labels
from engine.scoring.cluster import ray_cluster

SMALL = LightGBMSettings(num_iterations=20, num_leaves=7, min_data_in_leaf=20, min_train_rows=500)
FEATURES = ["momentum_1m", "momentum_3m", "volatility_20", "reversal_5"]


@pytest.fixture(scope="module")
def market():
    """Noise in which last month's return goes on for a week."""
    noise = noise_market(4, names=20, sessions=756)
    close = noise.bars["close"].to_numpy().reshape(20, -1)
    steps = np.diff(np.log(close), axis=1)
    for t in range(21, steps.shape[1]):
        past = steps[:, t - 21 : t].sum(axis=1)
        steps[:, t] += 0.03 * (past - past.mean())
    trending = 50 * np.exp(np.concatenate([np.zeros((20, 1)), np.cumsum(steps, axis=1)], axis=1))
    price = pl.Series(trending.ravel())
    bars = noise.bars.with_columns(open=price, high=price, low=price, close=price)
    return replace(noise, bars=bars, data_hash="trending")


@pytest.fixture(scope="module")
def asofs(market) -> list[date]:
    return market.calendar.rebalances(date(2013, 6, 1), date(2014, 11, 30), "monthly")


@pytest.fixture
def fit(market, asofs, tmp_path):
    def run(**given) -> LightGBMBaseline:
        said = {
            "market": market,
            "asofs": asofs,
            "features": FEATURES,
            "settings": SMALL,
            "embargo_sessions": 20,
            "seed": 0,
            "min_names": 10,
            "folder": tmp_path / "fits",
            **given,
        }
        settings = Settings(
            run=RunSettings(seed=said["seed"]),
            scoring=ScoringSettings(horizons=[5, 20]),
            features=said["features"],
            evaluation=EvaluationSettings(embargo_sessions=said["embargo_sessions"]),
            baselines=BaselineSettings(lightgbm=said["settings"]),
        )
        return run_baseline(
            said["market"],
            said["asofs"],
            settings,
            min_names=said["min_names"],
            folder=said["folder"],
            console=Console(file=io.StringIO()),
        )

    return run


def rank_ic(market, baseline: LightGBMBaseline, horizon: int) -> float:
    labels = compute_labels(market, baseline.predictions["asof"].unique().to_list(), [horizon])
    panel = baseline.predictions.join(labels, on=["asof", "ticker", "horizon"])
    ic = information_coefficient(
        panel.with_columns(status=pl.lit("ok")), min_cross_section=10, score="lightgbm"
    )
    return ic.filter(status="judged")["rank_ic"].mean()


def test_it_finds_what_is_there_to_be_found(market, asofs, fit):
    found = fit()
    assert rank_ic(market, found, 5) > 0.2
    assert found.counts["fits"] == len(asofs) * 2
    assert found.predictions.select("asof", "ticker", "horizon").is_unique().all()
    assert found.predictions.height == len(asofs) * 20 * 2
    gains = found.importances.filter(pl.col("horizon") == 5).sort("gain", descending=True)
    assert gains["feature"][0] == "momentum_1m"
    assert gains["gain"].sum() == pytest.approx(1.0)
    assert next(iter(found.metrics()["importances"]["5"])) == "momentum_1m"


def test_predictions_at_a_date_know_nothing_after_it(market, asofs, fit, tmp_path):
    cut = asofs[11]
    late = pl.col("date") > cut
    rng = np.random.default_rng(2)
    noise = market.bars.with_columns(
        pl.when(late)
        .then(pl.Series(rng.uniform(1, 99, market.bars.height)))
        .otherwise(name)
        .alias(name)
        for name in ("open", "high", "low", "close", "volume", "amount")
    )
    spoiled = replace(market, bars=noise, data_hash="spoiled")
    before = pl.col("asof") <= cut
    real, other = fit().predictions, fit(market=spoiled).predictions
    assert real.filter(before).height == 12 * 20 * 2
    assert real.filter(before).equals(other.filter(before))
    assert not real.filter(~before).equals(other.filter(~before))


def test_ray_gives_the_same_bytes(fit, tmp_path, monkeypatch):
    alone = fit()
    monkeypatch.setattr(engine.baselines.fitting, "_WORTH_RAY", 0)
    monkeypatch.setattr(engine.baselines.fitting.os, "cpu_count", lambda: 2)
    with ray_cluster(None, cpus=2, object_bytes=0):
        together = fit(folder=tmp_path / "others")
    assert alone.predictions.equals(together.predictions)
    assert alone.importances.equals(together.importances)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def test_finished_fits_are_kept_and_damaged_ones_made_again(fit, asofs, tmp_path):
    first = fit()
    kept = files(tmp_path / "fits")
    assert len(kept) == len(asofs) * 2
    kept[0].write_bytes(b"torn")
    kept[1].unlink()
    again = fit()
    assert (first.reused, again.reused) == (0, len(kept) - 2)
    assert again.predictions.equals(first.predictions)
    assert again.importances.equals(first.importances)
    assert again.fingerprint == first.fingerprint


@pytest.mark.parametrize(
    "changed",
    [
        {"embargo_sessions": 40},
        {"seed": 1},
        {"features": FEATURES[:3]},
        {"settings": SMALL.model_copy(update={"num_iterations": 21})},
        {"settings": SMALL.model_copy(update={"half_life_sessions": 100.0})},
    ],
)
def test_what_changes_a_prediction_is_never_mixed(fit, asofs, changed):
    few = asofs[-2:]
    first = fit(asofs=few)
    other = fit(asofs=few, **changed)
    assert other.reused == 0
    assert other.fingerprint != first.fingerprint
    assert not other.predictions.equals(first.predictions)


def test_other_dates_of_a_fold_are_other_predictions(market, asofs, fit):
    day = asofs[-1]
    before = market.calendar.offset(day, -1)
    one, two = fit(asofs=[day]), fit(asofs=[before])
    assert (one.reused, two.reused) == (0, 0)
    assert two.predictions["asof"].unique().to_list() == [before]


def test_folds_with_too_little_to_learn_from_are_counted(fit, asofs):
    many = SMALL.model_copy(update={"min_train_rows": 1500})
    found = fit(settings=many)
    left = found.skipped["fewer than 1500 training rows"]
    assert 0 < left < len(asofs) * 2
    assert found.counts["fits"] == len(asofs) * 2 - left
    assert found.predictions["asof"].min() > asofs[0]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"min_names": 21}, "at most 20 names a date, the gates need 21"),
        (
            {"settings": SMALL.model_copy(update={"enabled": False})},
            "baselines.lightgbm.enabled is false",
        ),
    ],
)
def test_nothing_is_fitted_where_nothing_could_be_judged(fit, tmp_path, given, reason):
    found = fit(**given)
    assert found.skipped == {reason: 1}
    assert found.predictions.is_empty()
    assert found.metrics()["importances"] == {}
    assert not (tmp_path / "fits").exists()


@pytest.mark.long
def test_without_the_purge_noise_looks_like_skill():
    """The reason for the rule, small; in full: `python -m engine.bench purge`."""
    small = LightGBMSettings(num_iterations=40, min_data_in_leaf=100)
    studies = [
        leak_study(
            noise_market(seed, names=60, sessions=756),
            seed,
            horizon=60,
            judged_years=1,
            settings=small,
        )
        for seed in range(4)
    ]
    purged = np.array([study.purged for study in studies])
    leaky = np.array([study.every_earlier_row for study in studies])
    assert leaky.mean() > 0.03
    assert (leaky > purged).all()
    # Four markets: 95 % of a Student's t with three degrees of freedom.
    assert abs(purged.mean()) < 3.18 * purged.std(ddof=1) / 2

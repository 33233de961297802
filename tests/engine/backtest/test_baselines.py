"""The baselines of a run, as a user sees them in its files."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.backtest.__main__ import main
from engine.config import load_settings
from engine.config.settings import LightGBMSettings
from engine.scoring.cluster import ray_cluster

SPAN = (date(2017, 1, 3), date(2019, 3, 29))
SMALL = (
    *("--baselines.lightgbm.min_train_rows", "600", "--baselines.lightgbm.num_iterations", "10"),
    *("--baselines.lightgbm.min_data_in_leaf", "20", "--scoring.horizons", "5,10"),
)


@pytest.fixture(scope="module", autouse=True)
def ray():
    with ray_cluster(None, cpus=2, object_bytes=0):
        yield


@pytest.fixture(scope="module")
def backtest(make_bars, tmp_path_factory):
    folder = tmp_path_factory.mktemp("baselines")
    prices = folder / "prices.parquet"
    spans = dict.fromkeys([*(f"T{n:02d}" for n in range(12)), "IDX"], SPAN)
    make_bars(spans, seed=8).write_parquet(prices)

    def run(model: str, name: str, *argv: str) -> Path:
        code = main(
            [
                *("--data.source", "parquet", "--data.path", str(prices)),
                *("--data.benchmark", "IDX", "--model.name", model, "--run.name", name),
                *("--run.dir", str(folder / "runs"), "--evaluation.start", "2017-12-01"),
                *SMALL,
                *argv,
            ]
        )
        assert code == 0
        return folder / "runs" / name

    return run


@pytest.fixture(scope="module")
def beside(backtest) -> Path:
    return backtest("momentum", "beside")


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())


def test_every_baseline_is_judged_on_the_runs_dates(beside):
    metrics = read(beside, "metrics.json")
    rivals = metrics["baselines"]
    assert set(rivals) >= {"momentum_12m", "momentum_12_1", "reversal_5", "persistence", "lightgbm"}
    for name in ("reversal_5", "lightgbm"):
        for horizon in ("5", "10"):
            assert rivals[name][horizon]["n_dates"] > 5
            low, high = rivals[name][horizon]["ci95"]
            assert low < rivals[name][horizon]["rank_ic_mean"] < high
    assert rivals["persistence"]["5"]["rank_ic_mean"] is None
    assert "lightgbm" in (beside / "report.html").read_text()


def test_gate_2_is_judged_against_the_baseline(beside):
    gate = next(g for g in read(beside, "gates.json")["gates"] if g["name"] == "ml")
    baselines = read(beside, "metrics.json")["baselines"]["lightgbm"]
    assert "no baseline in this run" not in gate["reasons"]
    for horizon in ("5", "10"):
        reached = gate["numbers"]["baseline_rank_ic"][horizon]
        assert reached == pytest.approx(baselines[horizon]["rank_ic_mean"])
        assert 0.02 <= gate["numbers"]["threshold"][horizon] <= 0.05


def test_training_is_told(beside):
    training = read(beside, "metrics.json")["baseline_training"]["lightgbm"]
    assert training["embargo_sessions"] == 10  # the largest horizon
    assert training["fits"] > 0
    assert training["skipped"]["fewer than 600 training rows"] > 0
    for shares in training["importances"].values():
        assert sum(shares.values()) == pytest.approx(1.0)
        assert "beta_252" in shares
    flags = read(beside, "metrics.json")["flags"]
    assert flags["LightGBM not fitted: fewer than 600 training rows"] > 0
    manifest = read(beside, "manifest.json")
    assert manifest["packages"]["lightgbm"]
    assert manifest["baseline_fits"] == training["fits"]


def test_running_again_fits_nothing_and_changes_nothing(backtest, beside):
    files = ("metrics.json", "gates.json", "panel.parquet")
    before = {name: (beside / name).read_bytes() for name in files}
    backtest("momentum", "beside")
    manifest = read(beside, "manifest.json")
    assert manifest["baseline_fits_reused"] == manifest["baseline_fits"] > 0
    assert before == {name: (beside / name).read_bytes() for name in files}


def test_the_baseline_can_be_the_model(backtest, beside):
    folder = backtest("lightgbm", "itself", "--evaluation.embargo_sessions", "10")
    scores = pl.read_parquet(folder / "scores.parquet")
    assert scores.columns == pl.read_parquet(beside / "scores.parquet").columns
    assert set(scores["status"]) == {"ok", "skipped"}
    assert scores.filter(status="skipped")["reason"].unique().to_list() == [
        "fewer than 600 training rows"
    ]
    predicted = pl.read_parquet(beside / "panel.parquet").drop_nulls("lightgbm")
    both = predicted.join(scores, on=["asof", "ticker", "horizon"])
    assert both.height == predicted.height
    assert both["lightgbm"].equals(both["score_right"], check_names=False)
    metrics = read(folder, "metrics.json")
    assert metrics["run"]["training_period"] == "none"
    own = metrics["horizons"]["5"]["rank_ic_mean"]
    assert own == pytest.approx(metrics["baselines"]["lightgbm"]["5"]["rank_ic_mean"])


def test_the_demo_states_the_frozen_parameters():
    assert load_settings(environment={}).baselines.lightgbm == LightGBMSettings()

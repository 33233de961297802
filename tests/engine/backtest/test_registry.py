"""The trial registry: what counts as a trial, and that it never stops a run."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.backtest.registry import FILE, Trial, deflated, record_trials


def trial(seed: int = 0, **changes) -> Trial:
    days = [date(2020, 1, 1) + timedelta(days=i) for i in range(200)]
    net = np.random.default_rng(seed).normal(0.0005, 0.01, len(days))
    base = Trial(
        data_hash="data",
        scores=f"scores {seed}",
        strategy={"name": "long_short_quantile", "quantile": 0.2},
        costs={"round_trip_bps": 10.0},
        run="run",
        first_asof=days[0],
        last_asof=days[-1],
        returns=pl.DataFrame({"date": days, "net": net}),
    )
    return replace(base, **changes)


@pytest.mark.parametrize(
    ("second", "recorded"),
    [
        (trial(), 1),
        (trial(run="another name"), 1),
        (trial(1), 2),
        (trial(strategy={"name": "long_short_quantile", "quantile": 0.1}), 2),
        (trial(costs={"round_trip_bps": 20.0}), 2),
        (trial(1, data_hash="other data"), 1),
        (trial(1, first_asof=date(2021, 1, 1), last_asof=date(2021, 2, 1)), 1),
        (trial(first_asof=date(2020, 2, 1)), 1),
    ],
)
def test_a_trial_is_another_score_strategy_or_cost_on_overlapping_dates(tmp_path, second, recorded):
    assert record_trials(tmp_path, [trial()]).recorded == 1
    assert record_trials(tmp_path, [second]).recorded == recorded


def test_grid_points_count_and_ten_of_them_have_a_probability_of_overfitting(tmp_path):
    found = record_trials(tmp_path, [trial(seed) for seed in range(9)])
    assert (found.recorded, found.overfitting) == (9, None)
    found = record_trials(tmp_path, [trial(9)])
    assert found.recorded == 10
    assert 0 <= found.overfitting <= 1
    assert len(found.sharpes) == 10


def test_more_trials_deflate_and_the_setting_only_raises(tmp_path):
    own = trial()
    first = record_trials(tmp_path, [own])
    alone = deflated(own.returns, first, at_least=1, periods_per_year=252)
    assert alone["trials"] == 1
    assert alone["deflated_sharpe"] == alone["probabilistic_sharpe"]
    many = record_trials(tmp_path, [*(trial(seed) for seed in range(1, 6)), own])
    assert deflated(own.returns, many, at_least=1, periods_per_year=252)["trials"] == 6
    raised = deflated(own.returns, many, at_least=50, periods_per_year=252)
    assert raised["trials"] == 50
    assert raised["deflated_sharpe"] < alone["deflated_sharpe"]


def test_a_damaged_registry_is_said_and_stops_nothing(tmp_path, caplog):
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    found = record_trials(tmp_path, [trial()])
    assert found.recorded == 1
    assert found.problem
    assert "could not be used" in caplog.text
    assert deflated(trial().returns, found, at_least=1, periods_per_year=252)["trials"] == 1


def test_a_registry_locked_by_another_process_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.backtest.registry._WAIT_S", 0.3)
    record_trials(tmp_path, [trial()])
    hold = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); "
        "print('held', flush=True); sys.stdin.read()"
    )
    path = str(tmp_path / FILE)
    with subprocess.Popen(
        [sys.executable, "-c", hold, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline().strip() == b"held"
        found = record_trials(tmp_path, [trial(1)])
        other.stdin.close()
    assert "lock" in found.problem.lower()
    assert record_trials(tmp_path, [trial(1)]).recorded == 2


def test_an_unwritable_folder_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    assert record_trials(Path(tmp_path / "file"), [trial()]).problem

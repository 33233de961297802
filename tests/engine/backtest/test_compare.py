"""Finished runs: side by side, told apart by pairs, and explained."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from jsonschema import Draft202012Validator
from places import ROOT

from engine.backtest.__main__ import main
from engine.backtest.compare import load_run, paired_differences

SCHEMA = ROOT / "backtest" / "gates" / "gates.schema.json"
TICKERS = [f"T{n:02d}" for n in range(12)]
SPAN = (date(2017, 1, 3), date(2018, 12, 31))


@pytest.fixture(scope="module")
def runs(make_bars, calendar, tmp_path_factory) -> Path:
    """runs/good holds scores that know a little of the future, runs/noise none."""
    folder = tmp_path_factory.mktemp("compare")
    bars = make_bars({**dict.fromkeys(TICKERS, SPAN), "IDX": SPAN}, seed=3)
    bars.write_parquet(folder / "bars.parquet")
    rng = np.random.default_rng(0)
    ahead = bars.filter(pl.col("ticker") != "IDX").select(
        "date", "ticker", label=(pl.col("close").shift(-5) / pl.col("close")).over("ticker") - 1
    )
    asofs = calendar.rebalances(date(2017, 3, 1), SPAN[1], "weekly")
    rows = ahead.filter(pl.col("date").is_in(asofs)).with_columns(
        noise=pl.Series(rng.normal(0, 0.05, ahead.filter(pl.col("date").is_in(asofs)).height))
    )
    for name, skill in (("good", 1.0), ("noise", 0.0)):
        scores = rows.select(
            asof="date",
            ticker="ticker",
            horizon=pl.lit(5),
            score=pl.col("noise") + skill * pl.col("label").fill_null(0.0),
        )
        path = folder / f"{name}.parquet"
        scores.write_parquet(path)
        flags = ["--data.source", "parquet", "--data.path", str(folder / "bars.parquet")]
        flags += ["--data.benchmark", "IDX", "--model.name", f"scores:{path}"]
        flags += ["--model.trained_until", "2016-12-31", "--scoring.horizons", "[5]"]
        flags += ["--scoring.rebalance", "weekly", "--baselines.lightgbm.enabled", "false"]
        flags += ["--run.dir", str(folder / "runs"), "--run.name", name, "--explain"]
        assert main(flags) == 0
    return folder / "runs"


def test_runs_side_by_side(runs, capsys):
    assert main(["compare", str(runs / "good"), str(runs / "noise")]) == 0
    said = capsys.readouterr().out
    assert "good" in said
    assert "told apart" in said
    out = runs / "comparison"
    page = (out / "comparison.html").read_text()
    assert "noise ranks below good at 5 sessions" in page
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("<svg ") == 2
    assert ">noise</text>" in page
    assert "<script" not in page
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads((out / "comparison.json").read_text())
    (row,) = content["differences"]
    assert row["distinct"]
    assert row["bootstrap_ci95"][1] < 0


def test_the_difference_is_paired_and_a_copy_has_none(runs):
    good, noise = load_run(runs / "good"), load_run(runs / "noise")
    (row,) = paired_differences([noise, good])
    both = good.ic.join(noise.ic, on=["asof", "horizon"], suffix="_noise")
    assert row["n_dates"] == both.height
    expected = (both["rank_ic"] - both["rank_ic_noise"]).mean()
    assert row["difference"] == pytest.approx(expected)
    metrics = good.metrics["horizons"]["5"]
    assert good.ic["rank_ic"].mean() == pytest.approx(metrics["rank_ic_mean"])
    (same,) = paired_differences([good, good])
    assert same["difference"] == 0
    assert not same["distinct"]


def test_trials_of_one_folder_are_counted(runs):
    first, second = (load_run(runs / name).metrics["portfolio"] for name in ("good", "noise"))
    assert (first["trials"], second["trials"]) == (1, 2)
    assert second["deflated_sharpe"] < second["probabilistic_sharpe"]


def test_gates_json_keeps_its_schema(runs):
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    check = Draft202012Validator(schema)
    for name in ("good", "noise"):
        gates = json.loads((runs / name / "gates.json").read_text())
        check.validate(gates)
        gates["gates"][0]["verdict"] = "MAYBE"
        assert not check.is_valid(gates)
        assert not check.is_valid({"version": 2, "gates": gates["gates"]})


def test_explain_walks_through_every_gate(runs, capsys):
    assert main(["explain", str(runs / "good")]) == 0
    said = capsys.readouterr().out
    for number, gate in enumerate(("factor", "ml", "practical"), start=1):
        assert f"Gate {number}, {gate}:" in said
    assert "median churn" in said
    assert "95 % interval" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "nowhere"], "at least two"),
        (["compare", "nowhere", "neither"], "nowhere is no finished run"),
        (["compare", "a", "b", "--colour"], "unknown option --colour"),
        (["explain"], "name a run folder"),
        (["explain", "nowhere"], "gates.json"),
    ],
)
def test_what_cannot_be_compared_is_said(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_two_runs_of_one_name(runs, tmp_path, capsys):
    shutil.copytree(runs / "good", tmp_path / "good")
    assert main(["compare", str(runs / "good"), str(tmp_path / "good")]) == 2
    assert "two runs are named 'good'" in capsys.readouterr().err

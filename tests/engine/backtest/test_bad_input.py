"""What cannot be run is refused in one line that names it, with exit code 2."""

from __future__ import annotations

import fcntl
import re

import pytest


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--scoring.actor", "1"], r"unknown key 'scoring\.actor'.*'scoring\.actors'"),
        (["--data.path", "nowhere.parquet"], r"nowhere\.parquet"),
        (["--data.universe", "T01,T0X"], r"T0X"),
        (["--data.universe", "[]"], r"data\.universe"),
        (["--data.benchmark", "SPX"], r"data\.benchmark.*SPX"),
        (["--data.calendar", "XNYZ"], r"XNYZ"),
        (["--evaluation.start", "2030-01-01"], r"evaluation\.start 2030-01-01 is after the last bar"),
        (["--evaluation.start", "2010-01-01", "--evaluation.end", "2010-06-01"], r"evaluation\.end 2010-06-01 is before the first bar"),
        (["--features", "momentum_9m"], r"momentum_9m"),
        (["--strategy.name", "long_shrt"], r"long_shrt"),
        (["--strategy.quantile", "0.9"], r"strategy\.quantile"),
        (["--strategy.grid", "{quantile: [0.1, 0.9]}"], r"strategy\.quantile: 0\.9"),
        (["--strategy.grid", "{quantle: [0.1]}"], r"strategy\.quantle.*did you mean 'quantile'"),
        (["--entry.strategies", "simple"], r"entry\.strategies: momentum predicts no open"),
        (["--strategy.quantile", "{a: ["], r"strategy\.quantile"),
        (["--strategy.horizon", "7"], r"strategy\.horizon: 7 is not among"),
        (["--scoring.horizons", "99999"], r"scoring\.horizons"),
        (["--strategy.quantle", "0.1"], r"strategy\.quantle|quantile"),
        (["--model.name", "./no/such/folder"], r"no/such/folder"),
        (["--model.name", "scores:nowhere.csv"], r"nowhere\.csv"),
        (["--model.name", "kronos-nano", "--model.device", "cuda"], r"model\.device: cuda needs scoring\.gpus_per_actor"),
        (["--model.name", "kronos-nano", "--model.device", "mps"], r"model\.device.*mps"),
        (["--strategy.name", "uncertainty_weighted", "--config", "full.yaml"], r"uncertainty_weighted reads score_std.*not momentum with"),
        (["--model.name", "kronos-nano", "--strategy.name", "fractional_kelly", "--config", "full.yaml", "--scoring.sampling.paths", "1", "--scoring.gpus_per_actor", "0"], r"fractional_kelly reads score_std.*not kronos-nano with 1"),
        (["--model.name", "kronos-nano", "--strategy.name", "fractional_kelly", "--config", "full.yaml", "--scoring.sampling.paths", "4", "--scoring.sampling.temperature", "0", "--scoring.gpus_per_actor", "0"], r"not kronos-nano with greedy ones"),
        (["--model.kernel", "natve"], r"model\.kernel"),
        (["--model.kernel", "native", "--model.profile", "exact"], r"model\.kernel is for model\.profile fast"),
        (["--scoring.horizons", "5,9000", "--model.name", "kronos-nano"], r"9000"),
        (["--evaluation.gates", "nowhere.yaml"], r"nowhere\.yaml"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(backtest, argv, message):
    code, folder, said = backtest(*argv)
    assert code == 2
    # Another strategy than the file's also says which parameters went with the file's.
    (error,) = [line for line in said.splitlines() if not line.startswith("warning: strategy.name")]
    assert re.search(message, error)
    assert error.startswith("error: ")
    assert "Traceback" not in said
    assert not (folder / "scores.parquet").exists()


def test_a_model_folder_without_weights_is_named(backtest, tmp_path):
    empty = tmp_path / "mine"
    empty.mkdir()
    code, _, said = backtest("--model.name", str(empty))
    assert code == 2
    assert str(empty) in said
    assert said.count("\n") == 1


def test_bars_without_a_column_are_named(backtest, bars, tmp_path):
    path = tmp_path / "narrow.parquet"
    bars.drop("low").write_parquet(path)
    code, _, said = backtest(data=path)
    assert code == 2
    assert "narrow.parquet" in said
    assert "low" in said


def test_a_folder_in_use_is_refused(backtest, tmp_path):
    folder = tmp_path / "runs" / "run"
    folder.mkdir(parents=True)
    with (folder / ".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, said = backtest()
    assert code == 2
    assert "in use" in said


def test_a_folder_that_cannot_be_written_is_named(backtest, tmp_path):
    (tmp_path / "runs").write_text("a file where the folder should be")
    code, _, said = backtest()
    assert code == 2
    assert "cannot be written" in said

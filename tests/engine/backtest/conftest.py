"""The main job's command on a small market, in a folder of the test's own."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from main_job import SPAN, TICKERS

from engine.backtest.__main__ import main


@pytest.fixture(scope="module")
def bars(make_bars) -> pl.DataFrame:
    return make_bars({**dict.fromkeys(TICKERS, SPAN), "IDX": SPAN}, seed=3)


@pytest.fixture(scope="module")
def prices(bars, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "prices.parquet"
    bars.write_parquet(path)
    return path


@pytest.fixture
def backtest(prices, tmp_path, capsys):
    def run(*argv: str, data: Path = prices, name: str = "run") -> tuple[int, Path, str]:
        code = main(
            [
                *("--data.source", "parquet", "--data.path", str(data)),
                *("--data.benchmark", "IDX", "--model.name", "momentum"),
                *("--run.dir", str(tmp_path / "runs"), "--run.name", name),
                *("--evaluation.start", "2018-01-01"),
                *argv,
            ]
        )
        said = capsys.readouterr()
        return code, tmp_path / "runs" / name, said.out + said.err

    return run

"""A window without a finite forecast: set aside with its reason, exit code 3, the rest judged."""

from __future__ import annotations

import json
from datetime import date

import polars as pl
import pytest

from engine.backtest.__main__ import main

TICKERS = [f"T{n:02d}" for n in range(12)]
SPAN = (date(2017, 1, 3), date(2019, 3, 29))


@pytest.fixture
def prices(make_bars, tmp_path):
    """One ticker's prices are beyond float32 until early 2018, as an unadjusted penny stock's."""
    bars = make_bars(dict.fromkeys(TICKERS, SPAN), seed=3)
    huge = (pl.col("ticker") == "T05") & (pl.col("date") < date(2018, 2, 1))
    scale = pl.when(huge).then(1e39).otherwise(1.0)
    columns = [pl.col(name) * scale for name in ("open", "high", "low", "close")]
    path = tmp_path / "prices.parquet"
    bars.with_columns(columns).write_parquet(path)
    return path


def test_the_exit_code_says_that_windows_were_given_up(prices, tmp_path, capsys):
    code = main(
        [
            *("--data.source", "parquet", "--data.path", str(prices), "--data.benchmark", "null"),
            *("--model.name", "momentum", "--evaluation.start", "2018-01-01"),
            *("--scoring.actors", "1", "--scoring.lookback", "40"),
            *("--run.dir", str(tmp_path), "--run.name", "run"),
        ]
    )
    said = capsys.readouterr()
    assert code == 3, said.err
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    scores = pl.read_parquet(tmp_path / "run" / "scores.parquet")
    failed = scores.filter(status="failed")
    assert failed["ticker"].unique().to_list() == ["T05"]
    assert failed["reason"].unique().to_list() == ["forecast is not finite"]
    windows = failed.select("asof", "ticker").n_unique()
    assert manifest["failed"] == {"forecast is not finite": windows}
    assert f"{windows} windows quarantined" in " ".join(said.out.split())
    assert scores.filter(status="ok")["ticker"].n_unique() == len(TICKERS)
    assert manifest["windows_computed"] + windows == manifest["windows_planned"]

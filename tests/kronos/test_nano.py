"""The checkpoint that ships."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import metadata_load
from kronos_golden import daily_stamps, random_bars

from kronos import KronosPredictor, checkpoint_info, load_predictor
from kronos.weights.info import NANO

PARTS = ("tokenizer", "model")


@pytest.fixture(scope="module")
def nano() -> KronosPredictor:
    return load_predictor("kronos-nano", device="cpu")


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in NANO.rglob("*") if path.is_file()) <= 4_000_000


@pytest.mark.parametrize("part", PARTS)
def test_card(part: str) -> None:
    info = checkpoint_info("kronos-nano")
    card = metadata_load(NANO / part / "README.md")
    assert card["trained_until"] == date(2010, 6, 30)
    assert card["max_context"] == info.max_context >= 160
    assert card["sha256"] == getattr(info, f"{part}_sha256")
    assert card["license"] == "mit"
    text = (NANO / part / "README.md").read_text()
    for said in (
        "demonstration",
        "2004-01",
        "2009-05-14",
        "Seed 0",
        "--config configs/train_nano.yaml --data.path FILE",
        info.model_sha256,
        info.tokenizer_sha256,
        {"tokenizer": "reconstruction MSE", "model": "RankIC on the validation dates"}[part],
    ):
        assert said in text
    assert info.trained_until == date(2010, 6, 30)


def test_forecasts_are_prices(nano: KronosPredictor) -> None:
    windows = random_bars(6, 128)
    past, future = daily_stamps(6, 128), daily_stamps(6, 20, "2010-06-01")
    forecast = nano.forecast(windows, past, future, paths=8, seeds=range(6), batch_rows=16)
    assert np.isfinite(forecast.paths).all()
    prices = forecast.paths[..., :4]
    assert (prices > 0).all()
    # Within the clip of ±5 standard deviations of the window.
    centre, spread = windows[..., :4].mean(axis=1), windows[..., :4].std(axis=1)
    assert (np.abs(prices - centre[:, None, None]) < 6 * spread[:, None, None]).all()
    # A path starts near the last close, and its bars are almost bars: high above low.
    jump = np.abs(prices[:, :, 0, 3] / forecast.last_close[:, None] - 1)
    assert np.median(jump) < 0.05
    assert (prices[..., 1] >= prices[..., 2]).mean() > 0.9


def test_published_interface(nano: KronosPredictor) -> None:
    columns = ["open", "high", "low", "close", "volume", "amount"]
    frame = pd.DataFrame(random_bars(1, 100)[0], columns=columns)
    days = pd.Series(pd.bdate_range("2012-01-02", periods=110))
    result = nano.predict(frame, days[:100], days[100:], pred_len=10, T=0, verbose=False)
    assert list(result.columns) == columns
    assert list(result.index) == list(days[100:])
    assert np.isfinite(result.to_numpy()).all()

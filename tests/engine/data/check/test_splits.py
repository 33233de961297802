from __future__ import annotations

import gzip
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.calendar import TradingCalendar
from engine.config.data import SimulatedSettings
from engine.data.check import detect_splits
from engine.data.check.splits import SPLITS
from engine.data.simulated import Simulation

REAL = [
    ("AAPL", date(2000, 6, 21), 2.0),
    ("AAPL", date(2005, 2, 28), 2.0),
    ("MSFT", date(2003, 2, 18), 2.0),
]


@pytest.fixture(scope="module")
def raw() -> pl.DataFrame:
    """The bars that ship with bokeh-sampledata, as traded."""
    spec = find_spec("bokeh_sampledata")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "_data" / "stocks.csv.gz"
    frame = pl.read_csv(gzip.decompress(path.read_bytes())).rename(str.lower)
    return frame.with_columns(pl.col("date").str.to_date()).sort("ticker", "date")


def test_the_splits_of_apple_and_microsoft_and_no_other(raw):
    """Apple's crash of 2000-09-29 halved the price too."""
    assert detect_splits(raw).rows() == REAL
    assert detect_splits(raw).schema == SPLITS


def test_prices_adjusted_by_the_ratio_have_no_jump_on_the_date(raw):
    after = pl.col("date") >= pl.col("split")
    for ticker, day, ratio in REAL:
        bars = raw.filter(pl.col("ticker") == ticker).with_columns(split=pl.lit(day))
        whole = bars.with_columns(
            close=pl.when(after).then(pl.col("close") * ratio).otherwise("close")
        )
        change = whole.with_columns(r=pl.col("close") / pl.col("close").shift(1) - 1)
        assert abs(change.filter(pl.col("date") == day)["r"].item()) < 0.3


def test_a_recorded_factor_explains_them(raw):
    factor = pl.col("adj close") / pl.col("close")
    assert detect_splits(raw.with_columns(adj_factor=factor)).is_empty()


def test_bars_without_volume_are_judged_by_price_alone(raw):
    found = detect_splits(raw.drop("volume"))
    assert set(REAL) <= set(found.rows())


def test_the_splits_of_a_simulated_market_are_found():
    """With the truth known: nearly all are found, and next to nothing else."""
    settings = SimulatedSettings(n_tickers=60, end=date(2017, 12, 29), seed=2)
    market = Simulation(settings, TradingCalendar("XNYS")).run()
    truth = market.actions.filter(pl.col("kind") == "split")
    found = detect_splits(market.bars.drop("adj_factor"))
    right = found.join(truth, on=["ticker", "date"])
    assert truth.height >= 10
    assert right.height >= 0.85 * truth.height
    assert found.height - right.height <= 2
    assert np.allclose(right["ratio"], right["value"])

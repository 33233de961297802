"""The predicted bar of the next session, read from per-step statistics."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from engine.forecasters.statistics import step_statistics
from engine.scoring.plan import plan_windows
from engine.scoring.price_array import PriceArray
from engine.scoring.scores import LEVELS_SCHEMA, assemble_levels, level_steps

ASOFS = [date(2020, 5, 29), date(2020, 6, 30)]


@pytest.fixture
def plan(bars, calendar):
    prices = PriceArray.from_bars(bars)
    return plan_windows(prices, calendar, ASOFS, lookback=70, steps=5, seed=0)


def finished(plan, *, levels: bool = True, steps: int = 5) -> pl.DataFrame:
    windows = plan.planned
    n = windows.height
    last = 10.0 + np.arange(n)
    closes = last[:, None, None] * (1 + 0.01 * np.arange(1, steps + 1))[None, None, :]
    # Window 0 at step 1: open 10.0, high 10.5, low 9.5; one more each step.
    bar = last[:, None, None, None] + np.array([0.0, 0.5, -0.5]) + np.arange(steps)[:, None]
    frame = step_statistics(
        tuple(windows["ticker"]), windows["asof"].to_numpy(), last, closes, bar if levels else None
    )
    return windows.select("asof", "ticker", "hash").join(frame, on=["asof", "ticker"])


def test_of_daily_bars_the_first_step(plan):
    found = assemble_levels(plan, finished(plan))
    assert found.schema == LEVELS_SCHEMA
    assert list(level_steps(plan)) == [1]
    assert found.height == plan.planned.height == 6
    assert found.equals(found.sort("asof", "ticker"))
    assert found.row(0)[2:] == pytest.approx((10.0, 10.0, 10.5, 9.5, 10.1))


def test_of_intraday_bars_all_steps_of_the_session(plan):
    class ThreeBars:
        def steps_to(self, _day, sessions):
            return 3 * sessions

    intraday = replace(plan, grid=ThreeBars())
    found = assemble_levels(intraday, finished(plan))
    assert list(level_steps(intraday)) == [1, 2, 3]
    assert found.row(0)[2:] == pytest.approx((10.0, 10.0, 12.5, 9.5, 10.3))
    # A session of which a step is missing has no levels.
    assert assemble_levels(intraday, finished(plan, steps=2)).is_empty()


def test_nothing_predicted_nothing_listed(plan):
    assert assemble_levels(plan, None).schema == LEVELS_SCHEMA
    assert assemble_levels(plan, finished(plan, levels=False)).is_empty()
    stale = finished(plan).with_columns(hash=pl.lit("of another window"))
    assert assemble_levels(plan, stale).is_empty()
    moved = finished(plan).with_columns(pl.col("asof") + timedelta(days=1))
    assert assemble_levels(plan, moved).is_empty()

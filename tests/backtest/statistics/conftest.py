"""A random market and the dates on which its scores can be judged."""

from __future__ import annotations

import polars as pl
import pytest

from backtest.statistics.ic import rank_ic_frame


@pytest.fixture(scope="module")
def market(world):
    return world()


@pytest.fixture(scope="module")
def judged(market):
    ic = rank_ic_frame(market.panel, min_cross_section=10)
    return ic.filter(pl.col("status") == "judged")

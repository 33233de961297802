"""Points that are drawn, against plain loops."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from backtest.report.charts.time import performance, rolling
from backtest.report.drawing import Sheet
from backtest.report.panel import MAX_POINTS, thinned
from backtest.report.tables import weights_table


def daily(returns, benchmark=None):
    n = len(returns)
    return pl.DataFrame(
        {
            "date": [date(2000, 1, 3) + timedelta(days=i) for i in range(n)],
            "gross": returns,
            "net": returns,
            "benchmark": benchmark or [None] * n,
            "turnover": [0.0] * n,
            "in_training": [False] * n,
        },
        schema_overrides={"benchmark": pl.Float64, "net": pl.Float64, "gross": pl.Float64},
    )


def test_compounding_and_drawdown_equal_a_loop():
    returns = [-0.1, 0.2, None, 0.05, -0.3, 0.1]
    curves = performance(daily(returns))
    wealth, peak = 1.0, 1.0
    for i, r in enumerate(returns):
        wealth *= 1 + (r or 0.0)
        peak = max(peak, wealth)
        assert curves["net"][i] == pytest.approx(wealth - 1)
        assert curves["net_drawdown"][i] == pytest.approx(wealth / peak - 1)
    assert "benchmark" not in curves.columns


def test_benchmark_starts_where_it_is_known():
    curves = performance(daily([0.0, 0.0, 0.0], benchmark=[None, 0.1, None]))
    assert curves["benchmark"].to_list() == [None, pytest.approx(0.1), pytest.approx(0.1)]


def test_a_long_line_is_drawn_by_its_extremes(samples):
    values = np.random.default_rng(0).normal(0, 0.01, 10_000).cumsum()
    values[4_321], values[:3] = 9.0, np.nan
    days = np.arange(len(values))
    x, y = thinned(days, values)
    assert len(x) <= MAX_POINTS
    assert (np.diff(x) > 0).all()
    assert (x[0], x[-1]) == (3, 9_999)
    assert (y.min(), y.max()) == (np.nanmin(values), 9.0)
    assert (values[x] == y).all()
    few, same = thinned(days[:5], values[:5])
    assert len(few) == len(same) == 5
    sheet = Sheet("number")
    panel = sheet.panel(100)
    panel.line(days, values, "#0072b2")
    panel.bars(days, values, "#0072b2")
    assert len(sheet.figure.axes[0].lines[0].get_xdata()) <= MAX_POINTS
    assert len(sheet.figure.axes[0].patches[0].get_path()) <= 4 * MAX_POINTS


@pytest.mark.parametrize(
    ("n", "rebalance", "window"),
    [
        (8, "monthly", 0),
        (12, "monthly", 3),
        (96, "monthly", 12),
        (300, "daily", 63),
        (40, None, 10),
    ],
)
def test_rolling_mean_is_no_longer_than_a_quarter(n, rebalance, window):
    assert rolling(n, rebalance) == window


def test_weights_are_those_of_the_last_rebalance_without_zeros(samples, replaced):
    frame = pl.DataFrame(
        {
            "asof": [date(2020, 1, 31)] + [date(2020, 2, 28)] * 4,
            "ticker": ["A", "C", "B", "A", "D"],
            "weight": [1.0, 0.5, 0.5, -1.0, 0.0],
        }
    )
    found = weights_table(replaced(samples["full"], weights=frame))
    assert [row.ticker for row in found.rows] == ["B", "C", "A"]


def test_threshold_of_a_condition_made_of_others_is_passed_over(samples, replaced):
    whole = {"name": "RankIC ≥ 0.02 on at least 2 horizons", "threshold": 2.0, "part_of": None}
    part = {"name": "RankIC ≥ 0.02 at 5 sessions", "threshold": 0.02, "part_of": whole["name"]}
    gates = {"gates": [{"name": "factor", "conditions": [whole, part]}]}
    data = replaced(samples["full"], gates=gates)
    assert data.threshold("factor", "rankic") == 0.02
    assert data.threshold("practical", "rankic") is None


def test_returns_of_the_training_period_stand_apart(samples):
    data = samples["full"]
    after, before = data.period("returns"), data.period("returns", in_training=True)
    assert after.height + before.height == data.returns.height
    assert before["date"].max() < after["date"].min()
    inside = performance(before)
    assert inside["net"][-1] == pytest.approx((1 + before["net"]).product() - 1)

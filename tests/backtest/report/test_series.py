"""Points that are drawn, against plain loops."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from backtest.report.series import (
    MAX_POINTS,
    condition_threshold,
    dated_series,
    last_weights,
    performance,
    rank_ic_series,
)


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
    curves, _ = performance(daily(returns))
    wealth, peak = 1.0, 1.0
    for i, r in enumerate(returns):
        wealth *= 1 + (r or 0.0)
        peak = max(peak, wealth)
        assert curves["net"][i] == pytest.approx(wealth - 1)
        assert curves["net_drawdown"][i] == pytest.approx(wealth / peak - 1)
    assert "benchmark" not in curves.columns


def test_benchmark_starts_where_it_is_known():
    curves, _ = performance(daily([0.0, 0.0, 0.0], benchmark=[None, 0.1, None]))
    assert curves["benchmark"].to_list() == [None, pytest.approx(0.1), pytest.approx(0.1)]


def test_thinned_series_keeps_the_last_session_and_the_deepest_drawdown():
    returns = np.random.default_rng(0).normal(0, 0.01, 10_000)
    curves, step = performance(daily(returns))
    wealth = np.cumprod(1 + returns)
    worst = (wealth / np.maximum.accumulate(np.maximum(wealth, 1)) - 1).min()
    assert curves.height <= MAX_POINTS
    assert step == 11
    assert curves["net_drawdown"].min() == pytest.approx(worst)
    assert curves["net"][-1] == pytest.approx(wealth[-1] - 1)


def test_returns_of_the_training_period_do_not_compound_into_the_rest():
    frame = daily([0.5, 0.1, 0.1]).with_columns(in_training=pl.Series([True, False, False]))
    assert performance(frame)[0]["net"][-1] == pytest.approx(0.21)
    assert performance(frame, in_training=True)[0]["net"].to_list() == [pytest.approx(0.5)]


def rank_ics(values):
    asofs = [date(2000, 1, 1) + timedelta(days=i) for i in range(len(values))]
    return pl.DataFrame(
        {"asof": asofs, "horizon": 5, "rank_ic": values, "in_training": False},
        schema_overrides={"rank_ic": pl.Float64},
    )


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
def test_rolling_mean_is_trailing_and_no_longer_than_a_quarter(n, rebalance, window):
    values = np.random.default_rng(1).normal(size=n)
    means, found = rank_ic_series(rank_ics(values), 5, rebalance=rebalance)
    assert found == window
    if window:
        assert means["mean"][window - 2] is None
        assert means["mean"][window - 1] == pytest.approx(values[:window].mean())


def test_of_a_long_series_the_extremes_are_drawn():
    values = np.random.default_rng(1).normal(size=3000)
    rows = dated_series(rank_ics(values), "rank_ic", 5)
    assert rows.height <= MAX_POINTS
    assert (rows["rank_ic"].min(), rows["rank_ic"].max()) == (values.min(), values.max())
    assert rows["asof"].is_sorted()
    few = dated_series(rank_ics([0.1, None, 0.3]), "rank_ic", 5)
    assert few["rank_ic"].to_list() == [0.1, 0.3]


def test_weights_are_those_of_the_last_rebalance_without_zeros():
    frame = pl.DataFrame(
        {
            "asof": [date(2020, 1, 31)] + [date(2020, 2, 28)] * 4,
            "ticker": ["A", "C", "B", "A", "D"],
            "weight": [1.0, 0.5, 0.5, -1.0, 0.0],
        }
    )
    assert last_weights(frame)["ticker"].to_list() == ["B", "C", "A"]


def test_threshold_of_a_condition_made_of_others_is_passed_over():
    whole = {"name": "RankIC ≥ 0.02 on at least 2 horizons", "threshold": 2.0, "part_of": None}
    part = {"name": "RankIC ≥ 0.02 at 5 sessions", "threshold": 0.02, "part_of": whole["name"]}
    gates = {"gates": [{"name": "factor", "conditions": [whole, part]}]}
    assert condition_threshold(gates, "factor", "rankic") == 0.02
    assert condition_threshold(gates, "practical", "rankic") is None

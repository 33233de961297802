"""Intervals for a mean: against statsmodels and arch, in corners, and in simulation."""

from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from backtest.statistics.significance import (
    bootstrap_interval,
    hac_lag,
    mean_interval,
    newey_west_error,
    session_spacing,
)


@pytest.mark.parametrize(("n", "lag"), [(2, 1), (5, 1), (5, 4), (12, 4), (12, 11), (300, 24)])
def test_newey_west_error_equals_statsmodels(n, lag):
    import statsmodels.api as sm

    values = np.random.default_rng(n).normal(size=n).cumsum()
    fit = sm.OLS(values, np.ones(n)).fit(
        cov_type="HAC", cov_kwds={"maxlags": lag, "use_correction": False}
    )
    assert newey_west_error(values, lag=lag) == pytest.approx(float(fit.bse[0]), rel=1e-10)


@pytest.mark.parametrize(
    ("n", "horizon", "spacing", "lag"),
    [
        (12, 20, 21, 5),  # ceil(1.3 · √12) = 5
        (100, 60, 21, 13),
        (100, 60, 1, 99),  # 2 · 60 does not fit
        (1250, 60, 1, 120),  # 2 · 60 beats 46
        (1250, 5, 1, 46),
        (2, 5, 21, 1),
    ],
)
def test_lag(n, horizon, spacing, lag):
    assert hac_lag(n, horizon=horizon, spacing=spacing) == lag


def test_interval_by_its_formula():
    values = np.random.default_rng(0).normal(0.05, 0.1, 48)
    found = mean_interval(values, horizon=20, spacing=21)
    lag = math.ceil(1.3 * math.sqrt(48))
    dof = max(2, 48 / (1.5 * lag))
    error = newey_west_error(values, lag=lag)
    half = stats.t.ppf(0.975, dof) * error
    assert (found.n, found.lag, found.dof) == (48, lag, dof)
    assert found.bounds == pytest.approx([values.mean() - half, values.mean() + half])
    assert found.t == pytest.approx(values.mean() / error)


def test_degrees_of_freedom_are_at_least_two():
    assert mean_interval(np.arange(6.0), horizon=60, spacing=1).dof == 2


@pytest.mark.parametrize(
    ("values", "mean", "bounds", "t"),
    [
        ([], None, None, None),
        ([0.3], 0.3, None, None),
        ([0.3, 0.3, 0.3], 0.3, [0.3, 0.3], None),
    ],
)
def test_degenerate_series_give_null_never_nan(values, mean, bounds, t):
    found = mean_interval(values, horizon=20, spacing=21)
    assert (found.mean, found.bounds, found.t) == (mean, bounds, t)
    interval = bootstrap_interval(values, horizon=20, spacing=21, draws=50, seed=0)
    assert interval == bounds


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.floats(-1, 1), min_size=2, max_size=40),
    horizon=st.integers(1, 60),
    spacing=st.floats(1, 63),
)
def test_interval_is_finite_and_holds_the_mean(values, horizon, spacing):
    found = mean_interval(values, horizon=horizon, spacing=spacing)
    assert all(map(math.isfinite, found.bounds))
    assert found.lo <= found.mean + 1e-15
    assert found.hi >= found.mean - 1e-15


def test_spacing_counts_sessions_not_days():
    sessions = [d for i in range(60) if (d := date(2020, 1, 1) + timedelta(days=i)).weekday() < 5]
    assert session_spacing(sessions[::5], sessions) == 5
    assert session_spacing([sessions[0], sessions[3], sessions[4], sessions[14]], sessions) == 3
    assert session_spacing(sessions[:1], sessions) == 1
    assert session_spacing([], sessions) == 1


def test_bootstrap_interval_equals_arch():
    from arch.bootstrap import StationaryBootstrap, optimal_block_length

    values = np.random.default_rng(2).normal(size=80).cumsum() / 10
    block = max(2 * math.ceil(20 / 21), optimal_block_length(values)["stationary"].iloc[0])
    oracle = StationaryBootstrap(block, values, seed=7).conf_int(
        np.mean, reps=200, method="percentile", size=0.95
    )
    found = bootstrap_interval(values, horizon=20, spacing=21, draws=200, seed=7)
    assert found == pytest.approx(oracle.ravel().tolist(), abs=1e-9)


def test_bootstrap_interval_is_reproducible_and_takes_the_median():
    values = np.random.default_rng(3).exponential(size=40)
    arguments = {"horizon": 5, "spacing": 21.0, "draws": 300}
    first = bootstrap_interval(values, seed=1, **arguments)
    assert first == bootstrap_interval(values, seed=1, **arguments)
    assert first != bootstrap_interval(values, seed=2, **arguments)
    low, high = bootstrap_interval(values, seed=1, statistic="median", **arguments)
    assert low < np.median(values) < high < first[1]


def rank_ics_without_skill(
    rng: np.random.Generator, *, dates: int, step: int, horizon: int, persistence: float
) -> np.ndarray:
    """RankICs of AR(1) scores of 40 names against overlapping returns they know nothing of."""
    names, sessions = 40, dates * step + horizon
    returns = rng.normal(size=(sessions, names))
    total = np.vstack([np.zeros(names), returns.cumsum(axis=0)])
    score = rng.normal(size=names)
    found = []
    for t in range(0, dates * step, step):
        noise = rng.normal(size=names)
        score = persistence * score + math.sqrt(1 - persistence**2) * noise
        label = total[t + horizon] - total[t]
        ranks = score.argsort().argsort(), label.argsort().argsort()
        found.append(np.corrcoef(*ranks)[0, 1])
    return np.array(found)


@pytest.mark.parametrize(
    ("dates", "step", "horizon", "persistence"),
    [(24, 21, 20, 0.0), (48, 21, 60, 0.99), (250, 1, 20, 0.99)],
)
def test_interval_covers_zero_in_a_sane_share_of_worlds(dates, step, horizon, persistence):
    rng = np.random.default_rng(dates)
    worlds, covered = 150, 0
    for _ in range(worlds):
        series = rank_ics_without_skill(
            rng, dates=dates, step=step, horizon=horizon, persistence=persistence
        )
        found = mean_interval(series, horizon=horizon, spacing=step)
        covered += found.lo <= 0 <= found.hi
    assert 0.90 <= covered / worlds <= 0.995

"""Summary figures of a return series."""

from __future__ import annotations

import math

import numpy as np
import pytest

from backtest.statistics.performance import (
    annual_return,
    annual_volatility,
    max_drawdown,
    sharpe,
    total_return,
)


def test_by_hand():
    returns = [0.1, -0.5, 0.2]
    assert total_return(returns) == pytest.approx(1.1 * 0.5 * 1.2 - 1)
    assert max_drawdown(returns) == pytest.approx(-0.5)
    assert max_drawdown([-0.1, 0.5]) == pytest.approx(-0.1)
    assert annual_return([0.01] * 252, periods_per_year=252) == pytest.approx(1.01**252 - 1)


@pytest.mark.parametrize("periods", [252, 365])
def test_sharpe_and_volatility_scale_with_the_calendar(periods):
    values = np.random.default_rng(0).normal(0.001, 0.01, 500)
    deviation = values.std(ddof=1)
    expected = values.mean() / deviation * math.sqrt(periods)
    assert sharpe(values, periods_per_year=periods) == pytest.approx(expected)
    volatility = annual_volatility(values, periods_per_year=periods)
    assert volatility == pytest.approx(deviation * math.sqrt(periods))


def test_sharpe_equals_vectorbt():
    import pandas as pd
    import vectorbt  # noqa: F401  (registers the accessor)

    values = np.random.default_rng(1).normal(0.001, 0.01, 300)
    index = pd.date_range("2020-01-01", periods=300, freq="D")
    accessor = pd.Series(values, index=index).vbt.returns(freq="1D", year_freq="365D")
    assert sharpe(values, periods_per_year=365) == pytest.approx(accessor.sharpe_ratio())
    assert max_drawdown(values) == pytest.approx(accessor.max_drawdown())


@pytest.mark.parametrize(
    ("returns", "expected"),
    [([], (None, None, None)), ([0.0, 0.0], (0.0, None, 0.0)), ([-1.0, 0.0], (-1.0, None, -1.0))],
)
def test_degenerate_series_are_null_never_nan(returns, expected):
    year = annual_return(returns, periods_per_year=252)
    ratio = sharpe(returns, periods_per_year=252) if len(set(returns)) < 2 else None
    assert (year, ratio, max_drawdown(returns)) == expected


def test_one_huge_session_stays_finite():
    assert math.isfinite(annual_return([50.0], periods_per_year=365))

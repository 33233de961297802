"""Cost per trade and average daily value."""

from __future__ import annotations

import numpy as np
import pytest

from backtest.costs import Costs, average_daily_value, trade_cost_bps

NAN = float("nan")


def costs(**changes: float) -> Costs:
    values = {
        "round_trip_bps": 10.0,
        "impact_coefficient": 50.0,
        "borrow_bps_per_year": 0.0,
        "aum": 1e6,
    }
    return Costs(**(values | changes))


@pytest.mark.parametrize(
    ("traded", "adv", "changes", "bps"),
    [
        (1e6, 1e8, {}, 5 + 50 * 0.1),
        (-1e6, 1e8, {}, 5 + 50 * 0.1),
        (0.0, 1e8, {}, 5.0),
        (1e6, NAN, {}, 105.0),
        (1e6, 0.0, {}, 105.0),
        (1e9, 1e6, {}, 500.0),
        (1e6, 1e8, {"round_trip_bps": 2000}, 500.0),
        (1e6, NAN, {"impact_coefficient": 0}, 5.0),
    ],
)
def test_cost_per_trade(traded, adv, changes, bps):
    assert float(trade_cost_bps(traded, adv, costs(**changes))) == pytest.approx(bps)


def test_adv_is_the_mean_of_the_last_20_sessions_and_knows_no_later_one():
    rng = np.random.default_rng(0)
    amount = rng.uniform(1, 100, (60, 3))
    amount[rng.random((60, 3)) < 0.2] = NAN
    amount[:5, 1] = NAN
    adv = average_daily_value(amount)
    for i in range(60):
        for k in range(3):
            window = amount[max(0, i - 19) : i + 1, k]
            window = window[~np.isnan(window)]
            expected = window.mean() if len(window) else NAN
            assert adv[i, k] == pytest.approx(expected, nan_ok=True)
    amount[31:] = 7e9
    np.testing.assert_array_equal(average_daily_value(amount)[:31], adv[:31])


@pytest.mark.parametrize("key", ["round_trip_bps", "impact_coefficient", "aum"])
@pytest.mark.parametrize("value", [-1.0, NAN, float("inf")])
def test_bad_costs_name_the_key(key, value):
    with pytest.raises(ValueError, match=rf"costs\.{key}: .* must be"):
        costs(**{key: value})


def test_capital_must_be_above_zero():
    with pytest.raises(ValueError, match=r"costs\.aum: 0 must be above 0"):
        costs(aum=0.0)

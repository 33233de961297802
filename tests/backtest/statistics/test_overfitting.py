"""Deflation of a Sharpe ratio and probability of overfitting: what must hold whatever the data."""

from __future__ import annotations

import numpy as np
import pytest

from backtest.statistics.overfitting import (
    deflation,
    expected_max_sharpe,
    probabilistic_sharpe,
    probability_of_overfitting,
)

RETURNS = np.random.default_rng(0).normal(0.001, 0.01, 500)


def test_one_trial_deflates_nothing_and_more_only_deflate():
    found = [
        deflation(RETURNS, trials=n, sharpes=[], periods_per_year=252)["deflated_sharpe"]
        for n in (1, 2, 10, 100)
    ]
    assert found[0] == probabilistic_sharpe(RETURNS)
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == 4


def test_the_expected_best_of_worthless_trials_is_what_simulation_gives():
    rng = np.random.default_rng(1)
    best = rng.normal(0, 0.05, (20_000, 50)).max(axis=1).mean()
    assert expected_max_sharpe(50, 0.05**2) == pytest.approx(best, rel=0.02)


def test_a_few_copies_do_not_make_a_search_look_harmless():
    copies = deflation(RETURNS, trials=20, sharpes=[0.1] * 20, periods_per_year=252)
    spread = deflation(
        RETURNS, trials=20, sharpes=list(np.linspace(-1, 1, 20)), periods_per_year=252
    )
    assert copies["sharpe_expected_max"] == pytest.approx(
        expected_max_sharpe(20, 1 / 499) * 252**0.5
    )
    assert spread["deflated_sharpe"] < copies["deflated_sharpe"] < copies["probabilistic_sharpe"]


@pytest.mark.parametrize("returns", [[], [0.01], [0.01, 0.01]])
def test_without_a_sharpe_nothing_is_claimed(returns):
    found = deflation(returns, trials=3, sharpes=[], periods_per_year=252)
    assert found["deflated_sharpe"] is None
    assert found["probabilistic_sharpe"] is None


def test_overfitting_is_null_under_ten_trials_and_half_for_noise():
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 0.01, (20, 800))
    assert probability_of_overfitting(noise[:9]) is None
    assert probability_of_overfitting(noise[:, :31]) is None
    skilled = noise.copy()
    skilled[4] += 0.005
    assert probability_of_overfitting(skilled) == 0.0
    many = [probability_of_overfitting(rng.normal(0, 0.01, (12, 200)), blocks=8) for _ in range(30)]
    assert np.mean(many) == pytest.approx(0.5, abs=0.12)

"""Our statistics against the libraries of the field, on random panels with gaps and ties."""

from __future__ import annotations

import warnings
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from backtest.statistics.ic import information_coefficient, rank_ic_frame
from backtest.statistics.overfitting import (
    expected_max_sharpe,
    overfitting_logits,
    probabilistic_sharpe,
    probability_of_overfitting,
)
from backtest.statistics.performance import period_sharpe
from backtest.statistics.quantiles import quantile_returns
from backtest.statistics.significance import newey_west_error

TOLERANCE = 1e-9


def random_panel(seed: int, *, dates: int = 12, names: int = 60) -> pl.DataFrame:
    """Scores rounded until they tie, some scores and labels missing."""
    rng = np.random.default_rng(seed)
    size = dates * names
    score = rng.normal(size=size).round(2)
    label = (0.02 * score + rng.normal(0, 0.1, size)).round(3)
    score[rng.random(size) < 0.05] = np.nan
    label[rng.random(size) < 0.05] = np.nan
    start = date(2020, 1, 6)
    return pl.DataFrame(
        {
            "asof": [start + timedelta(days=i // names) for i in range(size)],
            "ticker": [f"T{i % names:03d}" for i in range(size)],
            "horizon": pl.Series([5] * size, dtype=pl.Int32),
            "score": score,
            "label": label,
            "label_next_open": label,
            "status": ["ok"] * size,
            "mature": [True] * size,
        }
    )


@pytest.mark.parametrize("seed", range(4))
def test_rank_ic_and_quantile_returns_are_those_of_alphalens(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import alphalens
    panel = random_panel(seed)
    known = panel.filter(pl.col("score").is_finite(), pl.col("label").is_finite())
    factor_data = (
        known.select("asof", "ticker", "score", "label")
        .to_pandas()
        .rename(columns={"asof": "date", "ticker": "asset", "score": "factor", "label": "5D"})
    )
    factor_data["date"] = factor_data["date"].astype("datetime64[ns]")
    factor_data = factor_data.set_index(["date", "asset"]).sort_index()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantile = alphalens.utils.quantize_factor(factor_data, quantiles=5)
        factor_data = factor_data.assign(factor_quantile=quantile)
        ic = alphalens.performance.factor_information_coefficient(factor_data)
        means, _ = alphalens.performance.mean_return_by_quantile(factor_data, demeaned=False)
    ours = information_coefficient(panel, min_cross_section=10)
    assert ours["rank_ic"].to_numpy() == pytest.approx(ic["5D"].to_numpy(), abs=TOLERANCE)
    judged = rank_ic_frame(panel, min_cross_section=10)
    quantiles = quantile_returns(panel, judged)
    assert quantiles["quantile"].to_list() == means.index.to_list()
    found = quantiles["mean_label"].to_numpy()
    assert found == pytest.approx(means["5D"].to_numpy(), abs=TOLERANCE)


@pytest.mark.parametrize("seed", range(5))
def test_newey_west_error_is_that_of_statsmodels(seed):
    import statsmodels.api as sm

    rng = np.random.default_rng(seed)
    n = int(rng.integers(12, 400))
    x = np.convolve(rng.normal(size=n + 9), np.ones(10), "valid")
    for lag in (1, int(1.3 * np.sqrt(n)), n - 1):
        fit = sm.OLS(x, np.ones(n)).fit(
            cov_type="HAC", cov_kwds={"maxlags": lag, "use_correction": False}
        )
        assert newey_west_error(x, lag=lag) == pytest.approx(float(fit.bse[0]), abs=TOLERANCE)


@pytest.mark.parametrize(("trials", "seed"), [(2, 0), (10, 1), (1000, 2)])
def test_deflated_sharpe_is_that_of_vectorbt(trials, seed):
    from scipy.stats import kurtosis, skew
    from vectorbt.returns.metrics import approx_exp_max_sharpe, deflated_sharpe_ratio

    rng = np.random.default_rng(seed)
    returns = rng.standard_t(4, 500) * 0.01 + 0.0008
    variance = 0.003
    theirs = deflated_sharpe_ratio(
        est_sharpe=period_sharpe(returns),
        var_sharpe=variance,
        nb_trials=trials,
        backtest_horizon=len(returns),
        skew=skew(returns),
        kurtosis=kurtosis(returns, fisher=False),
    )
    best = expected_max_sharpe(trials, variance)
    ours = probabilistic_sharpe(returns, benchmark=best)
    assert ours == pytest.approx(float(theirs), abs=TOLERANCE)
    best = approx_exp_max_sharpe(0, variance, trials)
    assert expected_max_sharpe(trials, variance) == pytest.approx(float(best), abs=TOLERANCE)


@pytest.mark.parametrize(("seed", "blocks", "sessions"), [(0, 8, 240), (1, 10, 503), (2, 6, 61)])
def test_overfitting_is_that_of_purgedcv(seed, blocks, sessions):
    from purgedcv import probability_of_backtest_overfitting

    rng = np.random.default_rng(seed)
    returns = rng.normal(0.0004, 0.01, (12, sessions))
    returns[3] = returns[2]  # two trials that tie everywhere
    returns[5] = 0.0  # and one that never trades
    theirs = probability_of_backtest_overfitting(returns, n_splits=blocks)
    logits = overfitting_logits(returns, blocks=blocks)
    assert np.sort(logits) == pytest.approx(np.sort(theirs.logits), abs=TOLERANCE)
    ours = probability_of_overfitting(returns, blocks=blocks)
    assert ours == pytest.approx(theirs.pbo, abs=TOLERANCE)

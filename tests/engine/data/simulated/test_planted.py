from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from engine.data.simulated.planted import realised_rank_ic

SEEDS = range(100, 108)


def mean_over_seeds(simulate, **settings) -> tuple[float, float]:
    """Mean realised RankIC and its standard error over seeds, whose markets are independent."""
    means = []
    for seed in SEEDS:
        found = simulate(seed=seed, n_tickers=120, end=date(2012, 12, 31), **settings).rank_ic()
        means.append(float(found["rank_ic"].mean()))
    return float(np.mean(means)), float(np.std(means, ddof=1) / np.sqrt(len(means)))


@pytest.mark.parametrize(
    ("rank_ic", "horizon", "half_life"), [(0.05, 20, 60.0), (0.15, 5, 20.0), (-0.1, 20, 60.0)]
)
def test_the_planted_rank_ic_is_realised(simulate, rank_ic, horizon, half_life):
    mean, error = mean_over_seeds(simulate, rank_ic=rank_ic, horizon=horizon, half_life=half_life)
    assert error < 0.02
    assert abs(mean - rank_ic) < 3 * error + 0.003


def test_without_a_plant_the_signal_says_nothing(simulate):
    mean, error = mean_over_seeds(simulate, rank_ic=0.0)
    assert abs(mean) < 3 * error


def test_the_plant_moves_the_returns_and_nothing_else(simulate):
    """The same random numbers: the signal, the regimes and the listings are those without it."""
    plain, planted = simulate(rank_ic=0.0), simulate(rank_ic=0.2)
    assert plain.regimes.equals(planted.regimes)
    assert plain.index.equals(planted.index)
    assert plain.listings.equals(planted.listings)
    assert not plain.bars["close"].equals(planted.bars["close"])


def test_the_signal_is_standard_normal_with_the_half_life(simulate):
    market = simulate(end=date(2024, 12, 31), half_life=10.0, halts_per_year=0.0)
    values = market.signal["signal"]
    assert abs(float(values.mean())) < 0.05
    assert abs(float(values.std()) - 1) < 0.03
    later = market.signal.with_columns(later=pl.col("signal").shift(-10).over("ticker"))
    kept = later.drop_nulls().select(pl.corr("signal", "later")).item()
    assert abs(kept - 0.5) < 0.03


def test_the_scores_are_the_signal_of_every_horizon(simulate):
    market = simulate(n_tickers=3)
    scores = market.scores([20, 5])
    assert scores.columns == ["asof", "ticker", "horizon", "score"]
    assert scores.height == 2 * market.signal.height
    assert scores["horizon"].unique().sort().to_list() == [5, 20]


def test_realised_rank_ic_by_hand():
    days = [date(2020, 1, d) for d in (2, 3, 6, 7)]
    close = {"A": [10, 11, 12, 13], "B": [10, 9, 9, 9], "C": [10, 10, 11, 9], "D": [10, 12]}
    rows = [(d, t, float(c)) for t, cs in close.items() for d, c in zip(days, cs, strict=False)]
    bars = pl.DataFrame(rows, schema=["date", "ticker", "close"], orient="row")
    bars = bars.with_columns(adj_factor=pl.lit(1.0))
    signal = bars.select(
        "date",
        "ticker",
        signal=pl.col("ticker").replace_strict({"A": 4.0, "B": 1.0, "C": 2.0, "D": 3.0}),
    )
    found = realised_rank_ic(bars, signal, days, 2)
    # From the 2nd: A +20 %, B −10 %, C +10 %, D +20 % (its last price): a tie of A and D.
    first = spearmanr([4, 1, 2, 3], [1.2, 0.9, 1.1, 1.2]).statistic
    second = spearmanr([4, 1, 2, 3], [13 / 11, 1.0, 0.9, 1.0]).statistic
    assert found["asof"].to_list() == days[:2]
    assert np.allclose(found["rank_ic"], [first, second])
    assert found["n"].to_list() == [4, 4]

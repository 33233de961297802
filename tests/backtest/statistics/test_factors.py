"""The score beside known factors: rivals, redundancy, what they leave of it."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from scipy import stats

from backtest.statistics.cross_sections import CrossSections
from backtest.statistics.factors import (
    factor_baselines,
    factor_correlation,
    neutral_rank_ic,
    neutralised,
    redundancy_table,
)
from backtest.statistics.significance import mean_interval, session_spacing

DAYS = [date(2020, 1, 1) + timedelta(days=i) for i in range(400)]


def test_baselines_are_rank_ics_on_the_judged_dates(market, judged):
    found = factor_baselines(
        market.panel,
        judged,
        factors=["momentum_1m", "no_such_factor"],
        sessions=market.sessions,
        min_cross_section=10,
    )
    assert list(found) == ["momentum_1m"]
    dates = judged.filter(pl.col("horizon") == 5)["asof"]
    values = []
    for asof in dates:
        rows = market.panel.filter(pl.col("asof") == asof, pl.col("horizon") == 5)
        values.append(stats.spearmanr(rows["momentum_1m"], rows["label"]).statistic)
    spacing = session_spacing(dates.to_list(), market.sessions)
    interval = mean_interval(values, horizon=5, spacing=spacing)
    assert found["momentum_1m"]["5"]["n_dates"] == len(dates)
    assert found["momentum_1m"]["5"]["rank_ic_mean"] == pytest.approx(np.mean(values))
    assert found["momentum_1m"]["5"]["ci95"] == pytest.approx(interval.bounds)


def test_redundancy_equals_scipy(market, judged):
    panel = market.panel.with_columns(
        momentum_12m=pl.when(pl.col("ticker") == "T003").then(None).otherwise("momentum_12m")
    )
    found = factor_correlation(panel, judged, factor="momentum_12m", min_cross_section=10)
    assert found.height == judged.height
    for row in found.head(6).iter_rows(named=True):
        rows = panel.filter(
            pl.col("asof") == row["asof"], pl.col("horizon") == row["horizon"]
        ).drop_nulls("momentum_12m")
        expected = stats.spearmanr(rows["score"], rows["momentum_12m"]).statistic
        assert row["correlation"] == pytest.approx(expected, abs=1e-12)


def test_redundancy_of_momentum_with_itself_is_one(market, judged):
    panel = market.panel.with_columns(score=pl.col("momentum_12m") * 3)
    found = factor_correlation(panel, judged, factor="momentum_12m", min_cross_section=10)
    assert found["correlation"].to_list() == pytest.approx([1.0] * found.height)


def test_factor_without_values_leaves_no_date(market, judged):
    panel = market.panel.with_columns(momentum_12m=pl.lit(None, dtype=pl.Float64))
    found = factor_correlation(panel, judged, factor="momentum_12m", min_cross_section=10)
    assert found.height == 0


def cross_sections(seed: int = 0, dates: int = 6, names: int = 200) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    size = dates * names
    momentum, own = rng.normal(size=size), rng.normal(size=size)
    label = 0.02 * (momentum + own) + rng.normal(0, 0.05, size)
    return pl.DataFrame(
        {
            "asof": [DAYS[i // names] for i in range(size)],
            "ticker": [f"T{i % names:03d}" for i in range(size)],
            "horizon": pl.Series([5] * size, dtype=pl.Int32),
            "score": momentum + own,
            "momentum_12m": momentum,
            "own": own,
            "sector": [("a", "b", "c")[i % 3] for i in range(size)],
            "label": label,
            "total_return": label,
            "status": ["ok"] * size,
            "mature": [True] * size,
        }
    )


def test_redundancy_with_every_factor():
    panel = cross_sections().with_columns(same="score", against=-pl.col("score"))
    judged = panel.select("asof", "horizon").unique()
    found = redundancy_table(
        panel, judged, factors=["same", "against", "own", "absent"], min_cross_section=10
    )
    assert found["same"] == {"5": 1.0}
    assert found["against"] == {"5": -1.0}
    assert 0.6 < found["own"]["5"] < 0.8
    assert "absent" not in found


@pytest.mark.parametrize("sector", [None, "sector"])
def test_neutralised_scores_are_the_residuals_of_a_regression(sector):
    panel = cross_sections().with_columns(
        score=pl.col("score") + 3 * (pl.col("sector") == "b").cast(pl.Float64),
        momentum_12m=pl.when(pl.col("ticker") == "T007").then(None).otherwise("momentum_12m"),
    )
    factors = ["momentum_12m", "own"]
    found, mask = neutralised(CrossSections(panel), factors=factors, sector=sector)
    assert found.shape == (6, 200)
    assert (~mask).sum() == 6
    for row, one in enumerate(panel.partition_by("asof", maintain_order=True)):
        kept = one.filter(pl.col("momentum_12m").is_not_null())
        names = kept["sector"].to_numpy() if sector else np.zeros(kept.height)
        dummies = np.array([names == name for name in np.unique(names)], dtype=float).T
        x = np.column_stack([dummies, *(kept[name].rank().to_numpy() for name in factors)])
        y = kept["score"].rank().to_numpy()
        residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        assert found[row][mask[row]] == pytest.approx(residual, abs=1e-8)


def test_neutral_rank_ic_of_the_factor_itself_is_none_and_of_own_skill_is_kept():
    panel = cross_sections()
    judged = panel.select("asof", "horizon").unique()
    arguments = {"factors": ["momentum_12m"], "sector": None, "min_cross_section": 10}
    own = neutral_rank_ic(panel, judged, **arguments)
    alone = neutral_rank_ic(panel.with_columns(score="own"), judged, **arguments)
    assert own["rank_ic"].mean() == pytest.approx(alone["rank_ic"].mean(), abs=0.03)
    copy = panel.with_columns(score=pl.col("momentum_12m").exp())
    assert neutral_rank_ic(copy, judged, **arguments).is_empty()


def test_neutralising_reads_no_other_date():
    panel = cross_sections()
    cut = DAYS[3]
    noise = pl.lit(np.random.default_rng(9).normal(size=panel.height))
    later = pl.col("asof") > cut
    changed = panel.with_columns(
        pl.when(later).then(noise).otherwise(name).alias(name) for name in ("score", "momentum_12m")
    )
    before, after = (
        neutralised(CrossSections(frame), factors=["momentum_12m"])[0][:4]
        for frame in (panel, changed)
    )
    assert np.array_equal(before, after, equal_nan=True)

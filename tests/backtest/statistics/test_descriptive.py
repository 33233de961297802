"""Figures beside the gates: decay, neutralised RankIC, forecast quality, capacity, starts."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from backtest.costs import Costs
from backtest.statistics.cross_sections import CrossSections
from backtest.statistics.factors import neutral_rank_ic, neutralised, redundancy_table
from backtest.statistics.net_excess import (
    capacity,
    capacity_curve,
    cost_overlay,
    excess_after_costs,
    hit_rate,
)
from backtest.statistics.quality import forecast_quality
from backtest.statistics.quantiles import monotonicity
from backtest.statistics.stability import decay_table, start_sensitivity

DAYS = [date(2020, 1, 1) + timedelta(days=i) for i in range(400)]
COSTS = Costs(round_trip_bps=20, impact_coefficient=50, borrow_bps_per_year=0, aum=1e6)


def ic_frame(values: list[float], *, step: int = 1, horizon: int = 5) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "asof": DAYS[: step * len(values) : step],
            "horizon": pl.Series([horizon] * len(values), dtype=pl.Int32),
            "rank_ic": values,
        }
    )


def test_decay_compares_the_last_third_with_the_first():
    falling = [0.2] * 4 + [0.1] * 4 + [0.0] * 4
    (row,) = decay_table(ic_frame(falling), sessions=DAYS)
    assert (row["fold"], row["n_dates"]) == ("2020-01", 12)
    assert row["difference"] == pytest.approx(-0.2)
    assert row["flags"] == ["RAPID"]
    assert 0 < row["noise"] <= 0.2


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        ([0.1] * 12, []),
        ([0.01, 0.2, -0.2] * 3, ["NOISY"]),
        ([0.0, 0.1, 0.2] * 3, []),
        ([0.1] * 8, None),
    ],
)
def test_decay_flags(values, flags):
    rows = decay_table(ic_frame(values), sessions=DAYS)
    assert [row["flags"] for row in rows] == ([] if flags is None else [flags])


def test_decay_folds_are_years_when_dates_are_rarer_than_weekly():
    rows = decay_table(ic_frame([0.1] * 13, step=30), sessions=DAYS)
    assert [row["fold"] for row in rows] == ["2020"]


def test_decay_noise_is_what_random_series_show():
    rng = np.random.default_rng(0)
    values = rng.normal(0.03, 0.1, 360).tolist()
    rows = decay_table(ic_frame(values), sessions=DAYS)
    beyond = np.mean([abs(row["difference"]) > row["noise"] for row in rows])
    assert beyond <= 0.25
    assert 0.05 < rows[0]["noise"] < 0.2


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


def test_forecast_quality_by_hand():
    panel = pl.DataFrame(
        {
            "horizon": pl.Series([5] * 5, dtype=pl.Int32),
            "score": [0.02, -0.01, 0.0, 0.03, 0.5],
            "total_return": [0.01, 0.01, 0.02, None, 0.1],
            "q05": [0.0, -0.02, 0.03, 0.0, None],
            "q50": [0.02, -0.01, 0.04, 0.0, None],
            "q95": [0.04, 0.0, 0.05, 0.0, None],
            "status": ["ok"] * 5,
            "mature": [True] * 5,
        }
    )
    found = forecast_quality(panel)["5"]
    assert found["n"] == 4
    assert found["mae"] == pytest.approx((0.01 + 0.02 + 0.02 + 0.4) / 4)
    assert found["mae_persistence"] == pytest.approx((0.01 + 0.01 + 0.02 + 0.1) / 4)
    assert found["directional_accuracy"] == pytest.approx(2 / 3)
    assert found["coverage_90"] == pytest.approx(1 / 3)
    first = 2 * (0.05 * 0.01 + 0.5 * 0.01 + 0.05 * 0.03) / 3
    second = 2 * (0.05 * 0.03 + 0.5 * 0.02 + 0.95 * 0.01) / 3
    third = 2 * (0.95 * 0.01 + 0.5 * 0.02 + 0.05 * 0.03) / 3
    assert found["pinball_loss"] == pytest.approx((first + second + third) / 3)


def test_three_quantile_crps_is_lowest_for_the_true_distribution():
    rng = np.random.default_rng(0)
    actual = rng.normal(0, 0.02, 5000)
    scores = {}
    for width in (0.5, 1.0, 2.0):
        panel = pl.DataFrame({"total_return": actual}).with_columns(
            horizon=pl.lit(5),
            score=pl.lit(0.0),
            q05=pl.lit(-1.645 * 0.02 * width),
            q50=pl.lit(0.0),
            q95=pl.lit(1.645 * 0.02 * width),
            status=pl.lit("ok"),
            mature=pl.lit(True),
        )
        found = forecast_quality(panel)["5"]
        scores[width] = found["pinball_loss"]
        if width == 1.0:
            assert found["coverage_90"] == pytest.approx(0.9, abs=0.015)
    assert min(scores, key=scores.__getitem__) == 1.0


def members(label: float = 0.01, *, dates: int = 20, adv: float = 1e8) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "asof": [day for day in DAYS[:dates] for _ in "AB"],
            "horizon": pl.Series([5] * 2 * dates, dtype=pl.Int32),
            "ticker": ["A", "B"] * dates,
            "k": [2] * 2 * dates,
            "kept": [False, True] * dates,
            "label": [label] * 2 * dates,
            "fold": [f"{day:%Y-%m}" for day in DAYS[:dates] for _ in "AB"],
            "adv": [adv] * 2 * dates,
        }
    )


def test_capacity_is_where_the_net_excess_is_zero():
    frame = members()
    found = capacity(frame, costs=COSTS)
    # half the book trades: 0.01 = 0.5 · 2 · (10 + 50 √(aum/2 / 1e8)) bps
    assert found == pytest.approx(2e8 * (90 / 50) ** 2, rel=1e-6)
    curve = capacity_curve(frame, costs=COSTS)
    values = [point["net_excess_mean"] for point in curve]
    assert values == sorted(values, reverse=True)
    at_base = next(point for point in curve if point["aum"] == 1e6)
    frame_mean = excess_after_costs(frame, costs=COSTS)["net_excess"].mean()
    assert at_base["net_excess_mean"] == pytest.approx(frame_mean)


def test_capacity_without_an_answer():
    free = Costs(round_trip_bps=0, impact_coefficient=0, borrow_bps_per_year=0, aum=1e6)
    assert capacity(members(), costs=free) is None
    assert capacity(members(-0.01), costs=COSTS) == 0.0
    assert capacity(members().clear(), costs=COSTS) is None
    assert capacity_curve(members().clear(), costs=COSTS) == []


def test_cost_overlay_orders_low_base_high():
    found = cost_overlay(members(), costs=COSTS, horizon=5, sessions=DAYS)
    means = [found[name]["net_excess_mean"] for name in ("low", "base", "high")]
    assert means == sorted(means, reverse=True)
    assert found["high"]["round_trip_bps"] == 40


def test_hit_rate_and_monotonicity():
    frame = members().with_columns(
        label=pl.when(pl.col("ticker") == "A").then(0.01).otherwise(-0.01)
    )
    assert hit_rate(frame) == 0.5
    steps = pl.DataFrame({"quantile": [1, 2, 3], "mean_label": [0.1, 0.2, 0.3]})
    assert monotonicity(steps) == 1.0
    assert monotonicity(steps.with_columns(mean_label=-pl.col("mean_label"))) == -1.0
    assert monotonicity(steps.head(2)) is None


def test_start_sensitivity_leaves_out_the_first_dates():
    judged = ic_frame([0.3] * 10 + [0.0] * 10)
    excess = judged.select("asof", "horizon", net_excess="rank_ic")
    returns = pl.DataFrame({"date": DAYS[:20], "net": [0.01, -0.005] * 10})
    rows = start_sensitivity(judged, excess, returns, sessions=DAYS, periods_per_year=252)
    assert [row["n_dates"] for row in rows] == [20, 18, 16, 14, 12, 10]
    assert rows[0]["rank_ic_mean"] == pytest.approx(0.15)
    assert rows[-1]["rank_ic_mean"] == 0.0
    assert rows[-1]["start"] == DAYS[10]
    assert (
        start_sensitivity(judged.clear(), excess, returns, sessions=DAYS, periods_per_year=252)
        == []
    )

"""Quantiles, redundancy, baselines and regimes: the panel cut in other ways."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

from backtest.statistics.factors import factor_baselines, factor_correlation
from backtest.statistics.ic import rank_ic_frame
from backtest.statistics.quantiles import quantile_returns
from backtest.statistics.significance import mean_interval, session_spacing
from backtest.statistics.stability import regime_table


@pytest.fixture(scope="module")
def market(world):
    return world()


@pytest.fixture(scope="module")
def judged(market):
    ic = rank_ic_frame(market.panel, min_cross_section=10)
    return ic.filter(pl.col("status") == "judged")


def test_quantile_returns_equal_pandas_qcut(market, judged):
    frame = market.panel.with_columns(pl.col("score").round(2)).filter(pl.col("mature")).to_pandas()
    frame["bucket"] = frame.groupby(["asof", "horizon"])["score"].transform(
        lambda scores: pd.qcut(scores, 5, labels=False, duplicates="drop") + 1
    )
    daily = frame.groupby(["horizon", "asof", "bucket"])["label"].mean()
    expected = daily.groupby(["horizon", "bucket"]).mean()
    ours = quantile_returns(market.panel.with_columns(pl.col("score").round(2)), judged)
    for row in ours.iter_rows(named=True):
        value = expected.loc[(row["horizon"], row["quantile"])]
        assert row["mean_label"] == pytest.approx(value, abs=1e-12)
    assert ours["n"].sum() == len(frame)


def test_as_many_quantiles_as_names_when_names_are_few(market, judged):
    few = market.panel.filter(pl.col("ticker").is_in(["T000", "T001", "T002"]))
    assert quantile_returns(few, judged)["quantile"].unique().sort().to_list() == [1, 2, 3]


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


def test_regime_slices(market, judged):
    rows = regime_table(market.panel, judged, sessions=market.sessions, min_dates=10, min_names=10)
    assert {(row["kind"], row["regime"]) for row in rows} == {
        ("volatility", "low"),
        ("volatility", "high"),
        ("trend", "bull"),
        ("trend", "bear"),
    }
    by_date = market.panel.select("asof", "trend_regime").unique()
    for row in rows:
        if row["kind"] != "trend":
            continue
        dates = by_date.filter(pl.col("trend_regime") == row["regime"])
        part = judged.join(dates, on="asof", how="semi").filter(pl.col("horizon") == row["horizon"])
        assert row["n_dates"] == part.height
        assert row["rank_ic_mean"] == pytest.approx(part["rank_ic"].mean())
        assert row["thin"] == (part.height < 10)


def test_thin_by_names_and_dates_without_a_regime(market, judged):
    arguments = {"sessions": market.sessions, "min_dates": 1}
    rows = regime_table(market.panel, judged, min_names=21, **arguments)
    assert all(row["thin"] for row in rows)
    unknown = market.panel.with_columns(trend_regime=pl.lit(None, dtype=pl.String))
    kinds = {row["kind"] for row in regime_table(unknown, judged, min_names=1, **arguments)}
    assert kinds == {"volatility"}

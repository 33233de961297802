"""The finding on parts of the dates: regimes, decay inside folds, later starts."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from backtest.statistics.stability import decay_table, regime_table, start_sensitivity

DAYS = [date(2020, 1, 1) + timedelta(days=i) for i in range(400)]


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

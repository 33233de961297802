"""Forecast returns against what came, by hand and by simulation."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from backtest.statistics.quality import forecast_quality


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

"""Predicted paths to per-step statistics, against a plain loop."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from engine.forecasters.statistics import LEVELS, STATISTICS, step_statistics

ASOF = np.array(["2020-01-31", "2020-01-31", "2020-02-28"], dtype="datetime64[D]")
TICKERS = ("A", "B", "A")


def closes(paths: int, steps: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    last = np.array([10.0, 20.0, 30.0])
    return last, last[:, None, None] * np.exp(rng.normal(0, 0.1, (3, paths, steps)))


def test_every_number_equals_a_plain_loop():
    last, values = closes(paths=7)
    frame = step_statistics(TICKERS, ASOF, last, values)
    assert frame.height == 3 * 4
    for i in range(3):
        for k in range(4):
            row = frame.row(i * 4 + k, named=True)
            assert (row["ticker"], row["step"], row["n_paths"]) == (TICKERS[i], k + 1, 7)
            forms = {
                "terminal": values[i, :, k] / last[i] - 1,
                "path_mean": values[i, :, : k + 1].mean(axis=1) / last[i] - 1,
            }
            for form, returns in forms.items():
                assert row[f"{form}_score"] == pytest.approx(returns.mean(), rel=1e-12)
                assert row[f"{form}_score_std"] == pytest.approx(returns.std(ddof=1), rel=1e-9)
                assert row[f"{form}_p_up"] == (returns > 0).mean()
                assert row[f"{form}_q50"] == pytest.approx(np.median(returns), rel=1e-9)
                assert row[f"{form}_q05"] == pytest.approx(np.quantile(returns, 0.05), rel=1e-9)


@pytest.mark.parametrize("paths", [1, 5])
def test_levels_are_means_over_paths_in_money(paths):
    last, values = closes(paths=paths)
    levels = values[..., None] * np.array([0.99, 1.03, 0.96])
    levels[2, 0, 3, 1] = np.nan
    frame = step_statistics(TICKERS, ASOF, last, values, levels)
    for i, name in enumerate(LEVELS):
        expected = levels[..., i].mean(axis=1).ravel()
        found = frame[name].fill_null(float("nan")).to_numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert frame["predicted_high"].null_count() == 1
    closes_only = step_statistics(TICKERS, ASOF, last, values)
    assert closes_only.columns == frame.columns
    assert closes_only.schema == frame.schema
    assert all(closes_only[name].null_count() == closes_only.height for name in LEVELS)


def test_one_path_has_a_score_but_no_dispersion():
    last, values = closes(paths=1)
    frame = step_statistics(TICKERS, ASOF, last, values)
    assert frame["terminal_score"].to_list() == pytest.approx(
        (values[:, 0] / last[:, None] - 1).ravel().tolist()
    )
    for name in set(STATISTICS) - {"terminal_score", "path_mean_score"}:
        assert frame[name].null_count() == frame.height


def test_a_window_without_a_finite_forecast_is_left_out():
    last, values = closes(paths=2)
    values[1, 0, 2] = np.nan
    frame = step_statistics(TICKERS, ASOF, last, values)
    assert frame.select("asof", "ticker").unique().height == 2
    assert "B" not in frame["ticker"]


@pytest.mark.parametrize("paths", [1, 2, 9, 33])
def test_bits_do_not_depend_on_companions(paths):
    last, values = closes(paths=paths, steps=20)
    levels = values[..., None] * np.array([0.99, 1.03, 0.96])
    together = step_statistics(TICKERS, ASOF, last, values, levels)
    for i in range(3):
        one = slice(i, i + 1)
        alone = step_statistics(TICKERS[one], ASOF[one], last[one], values[one], levels[one])
        assert alone.equals(together[i * 20 : (i + 1) * 20])


def test_all_windows_lost_gives_an_empty_frame_of_the_same_columns():
    last, values = closes(paths=3)
    empty = step_statistics(TICKERS, ASOF, last, values * np.nan)
    full = step_statistics(TICKERS, ASOF, last, values)
    assert empty.height == 0
    assert empty.columns == full.columns
    assert pl.concat([full, empty], how="vertical_relaxed").height == full.height

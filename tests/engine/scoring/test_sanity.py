"""Scores that cannot be forecasts are told from those that can."""

from __future__ import annotations

import json
from datetime import date

import numpy as np
import polars as pl
import pytest

from engine.config.settings import SanitySettings
from engine.scoring.sanity import check_scores

DATES = [date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 28)]


def frame(values: np.ndarray, status: str = "ok", horizon: int = 20) -> pl.DataFrame:
    names = [f"T{i:02d}" for i in range(values.shape[1])]
    return pl.DataFrame(
        {
            "asof": [day for day in DATES for _ in names],
            "ticker": names * len(DATES),
            "horizon": pl.Series([horizon] * values.size, dtype=pl.Int32),
            "score": values.ravel(),
            "status": status,
        }
    )


NORMAL = np.random.default_rng(0).normal(0, 0.03, (3, 20))
CASES = {
    "as they should be": (NORMAL, []),
    "one beyond belief": (np.where(np.arange(60).reshape(3, 20) == 7, 1.3, NORMAL), ["range"]),
    "a price below zero": (np.where(np.arange(60).reshape(3, 20) == 7, -1.0, NORMAL), ["range"]),
    "one date constant": (np.where([[True], [False], [False]], 0.01, NORMAL), ["dispersion"]),
    "hardly any differences": (np.sign(NORMAL) * 1e-7 + NORMAL * 1e-7, ["dispersion"]),
    "all up": (np.abs(NORMAL), ["sign"]),
    "all down": (-np.abs(NORMAL), ["sign"]),
    "all zero": (NORMAL * 0, ["dispersion"]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_warned_of(case):
    values, expected = CASES[case]
    found = check_scores(frame(values), SanitySettings())
    warnings = found["horizons"]["20"]["warnings"]
    assert [text.split(":")[0] for text in warnings] == expected
    assert found["passed"] == (not expected)
    json.dumps(found, allow_nan=False)


def test_scores_that_differ_by_rounding_are_one_score():
    values = np.tile(0.01 + np.arange(20) * 1e-17, (3, 1))
    assert len(set(values[0])) > 1
    found = check_scores(frame(values), SanitySettings())["horizons"]["20"]
    assert found["constant_dates"] == 3
    assert found["warnings"][0] == "dispersion: 3 of 3 dates give every ticker one score"


def test_a_longer_horizon_may_move_further():
    wide = NORMAL.copy()
    wide[0, 0] = 1.3
    assert not check_scores(frame(wide, horizon=20), SanitySettings())["passed"]
    assert check_scores(frame(wide, horizon=60), SanitySettings())["passed"]


def test_figures_are_those_of_the_good_scores():
    scores = pl.concat([frame(NORMAL), frame(NORMAL * 100, status="failed")])
    found = check_scores(scores, SanitySettings())["horizons"]["20"]
    assert found["n_scores"] == 60
    assert found["highest"] == NORMAL.max()
    assert found["dispersion"] == pytest.approx(np.median(NORMAL.std(axis=1, ddof=1)))
    assert found["positive_share"] == (NORMAL > 0).mean()


def test_no_score_is_no_pass():
    found = check_scores(frame(NORMAL, status="skipped"), SanitySettings())
    assert not found["passed"]
    assert found["horizons"]["20"]["warnings"] == ["no score at all"]

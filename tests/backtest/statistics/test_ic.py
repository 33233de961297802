"""RankIC against SciPy and alphalens, and which dates can be judged at all."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from scipy import stats

from backtest.statistics.ic import information_coefficient, rank_ic_frame

DAY = date(2020, 1, 1)


def random_panel(seed: int, *, dates: int = 12, names: int = 25) -> pl.DataFrame:
    """Scores and labels with ties, gaps and skipped rows."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(dates):
        for k in range(names):
            label = float(np.round(rng.normal(), 1))
            rows.append(
                {
                    "asof": DAY + timedelta(days=i),
                    "ticker": f"T{k:02d}",
                    "horizon": 5,
                    "score": float(np.round(rng.normal(), 1)) if rng.random() > 0.1 else None,
                    "label": label if rng.random() > 0.1 else None,
                    "label_next_open": label + float(rng.normal()) if rng.random() > 0.1 else None,
                    "mature": i < dates - 2,
                    "status": "ok" if rng.random() > 0.1 else "skipped",
                }
            )
    return pl.DataFrame(rows, schema_overrides={"horizon": pl.Int32})


def one_date(scores: list[float | None], labels: list[float | None], **columns: object):
    size = len(scores)
    return pl.DataFrame(
        {
            "asof": [DAY] * size,
            "ticker": [f"T{k}" for k in range(size)],
            "horizon": pl.Series([5] * size, dtype=pl.Int32),
            "score": pl.Series(scores, dtype=pl.Float64, strict=False),
            "label": pl.Series(labels, dtype=pl.Float64, strict=False),
            "mature": [True] * size,
            "status": ["ok"] * size,
        }
    ).with_columns(**{name: pl.lit(value) for name, value in columns.items()})


@pytest.mark.parametrize("seed", range(8))
def test_equals_scipy(seed):
    panel = random_panel(seed)
    result = rank_ic_frame(panel, min_cross_section=4)
    assert result.height == 12
    for row in result.iter_rows(named=True):
        rows = panel.filter(
            pl.col("asof") == row["asof"], pl.col("status") == "ok", pl.col("mature")
        )
        both = rows.drop_nulls(["score", "label"])
        if not both.height:
            assert (row["rank_ic"], row["status"]) == (None, "immature")
            continue
        expected = stats.spearmanr(both["score"], both["label"]).statistic
        assert row["n"] == both.height
        assert row["rank_ic"] == pytest.approx(expected, abs=1e-12)
        pearson = stats.pearsonr(both["score"], both["label"]).statistic
        assert row["ic"] == pytest.approx(pearson, abs=1e-12)
        opened = rows.drop_nulls(["score", "label_next_open"])
        expected = stats.spearmanr(opened["score"], opened["label_next_open"]).statistic
        assert row["rank_ic_next_open"] == pytest.approx(expected, abs=1e-12)


def test_equals_alphalens():
    alphalens = pytest.importorskip("alphalens.performance")
    panel = random_panel(3).filter(pl.col("mature"))
    clean = panel.filter(pl.col("status") == "ok").drop_nulls(["score", "label"])
    frame = clean.select("asof", "ticker", factor="score", **{"5D": "label"}).to_pandas()
    frame["asof"] = frame["asof"].astype("datetime64[ns]")
    indexed = frame.rename(columns={"asof": "date", "ticker": "asset"}).set_index(["date", "asset"])
    expected = alphalens.factor_information_coefficient(indexed)["5D"].to_numpy()
    ours = information_coefficient(panel, min_cross_section=4)["rank_ic"].to_numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("panel", "n", "status", "value"),
    [
        (one_date([1, 2, 3, 4], [10, 20, 30, 40]), 4, "judged", 1.0),
        (one_date([4, 3, 2, 1], [10, 20, 30, 40]), 4, "judged", -1.0),
        (one_date([1, 1, 1, 1], [10, 20, 30, 40]), 4, "constant", None),
        (one_date([1, 2, 3, 4], [7, 7, 7, 7]), 4, "constant", None),
        (one_date([1, 2, 3], [10, 20, 30]), 3, "thin", None),
        (one_date([1, 2, 3, None], [10, 20, 30, 40]), 3, "thin", None),
        (one_date([1, 2, 3, float("nan")], [10, 20, 30, 40]), 3, "thin", None),
        (one_date([1, 2, 3, 4], [None] * 4, mature=False), 0, "immature", None),
        (one_date([1, 2, 3, 4], [10, 20, 30, 40], mature=False), 0, "immature", None),
        (one_date([1, 2, 3, 4], [10, 20, 30, 40], status="skipped"), 0, "thin", None),
    ],
)
def test_which_dates_are_judged(panel, n, status, value):
    row = information_coefficient(panel, min_cross_section=4).row(0, named=True)
    assert (row["n"], row["status"]) == (n, status)
    assert row["rank_ic"] == (pytest.approx(value) if value is not None else None)


def test_later_rows_change_no_earlier_date():
    panel = random_panel(0)
    cut = DAY + timedelta(days=6)
    noise = random_panel(1).with_columns(pl.col("score") * 100)
    mixed = pl.concat([panel.filter(pl.col("asof") <= cut), noise.filter(pl.col("asof") > cut)])
    past = pl.col("asof") <= cut
    before = rank_ic_frame(panel, min_cross_section=4).filter(past)
    assert before.equals(rank_ic_frame(mixed, min_cross_section=4).filter(past))

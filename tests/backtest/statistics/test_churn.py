"""Churn of the Top-K, by hand."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from backtest.statistics.churn import churn, rank_top

DATES = [date(2020, 1, 31), date(2020, 2, 28), date(2020, 3, 31), date(2020, 4, 30)]


def panel(*scores: dict[str, float], horizon: int = 20) -> pl.DataFrame:
    rows = [
        (asof, ticker, horizon, float(score), "ok")
        for asof, names in zip(DATES, scores, strict=False)
        for ticker, score in names.items()
    ]
    schema = {
        "asof": pl.Date,
        "ticker": pl.String,
        "horizon": pl.Int32,
        "score": pl.Float64,
        "status": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def ten(**best: float) -> dict[str, float]:
    """Ten names A … J with score 0 unless given: K = 2."""
    return {name: best.get(name, 0.0) for name in "ABCDEFGHIJ"}


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([ten(A=2, B=1), ten(A=2, B=1), ten(A=2, C=1), ten(D=2, E=1)], [None, 0.0, 0.5, 1.0]),
        ([ten(A=2, B=1), ten(A=1, B=2)], [None, 0.0]),
        # ties go to the earlier ticker: A is second both times
        ([ten(J=1), ten(J=1)], [None, 0.0]),
        ([ten(J=1), ten(J=1, B=0.5)], [None, 0.5]),
        # constant scores: no Top-K, and everything is bought again afterwards
        ([ten(A=2, B=1), ten(), ten(A=2, B=1)], [None, None, 1.0]),
        # fewer than five names still have a Top-1
        ([{"A": 2, "B": 1}, {"A": 1, "B": 2}], [None, 1.0]),
        # a name that is no longer scored is replaced
        ([ten(A=2, B=1), {k: v for k, v in ten(A=2, C=1).items() if k != "B"}], [None, 0.0]),
    ],
)
def test_by_hand(scores, expected):
    assert churn(rank_top(panel(*scores), top_k=10))["churn"].to_list() == expected


def test_k_is_limited_by_top_k_and_by_a_fifth_of_the_names():
    names = {f"T{i:02d}": float(i) for i in range(23)}
    ranked = rank_top(panel(names), top_k=10)
    assert ranked["k"].unique().to_list() == [4]
    assert rank_top(panel(names), top_k=3)["k"].unique().to_list() == [3]


def test_three_of_ten_is_exactly_three_tenths():
    """A gate compares it with 0.30; 1 − 7/10 would be a rounding error above."""
    names = {f"T{i:02d}": float(i) for i in range(50)}
    later = names | {"T00": 60.0, "T01": 61.0, "T02": 62.0}
    assert churn(rank_top(panel(names, later), top_k=10))["churn"].to_list() == [None, 0.3]


def test_k_of_the_later_date_counts_for_both():
    """Five names then ten: the Top-2 at t are compared with the Top-2 at the date before."""
    five = {"A": 5.0, "B": 4.0, "C": 3.0, "D": 2.0, "E": 1.0}
    result = churn(rank_top(panel(five, ten(A=2, B=1)), top_k=10))
    assert result["k"].to_list() == [1, 2]
    assert result["churn"].to_list() == [None, 0.0]


def test_horizons_are_apart_and_skipped_rows_do_not_count():
    both = pl.concat([panel(ten(A=2, B=1), ten(A=2, B=1)), panel(ten(A=1), ten(B=1), horizon=5)])
    failed = pl.col("ticker") == "B"
    broken = both.with_columns(
        status=pl.when(failed & (pl.col("horizon") == 20))
        .then(pl.lit("failed"))
        .otherwise("status")
    )
    result = churn(rank_top(both, top_k=1))
    assert result.filter(pl.col("horizon") == 5)["churn"].to_list() == [None, 1.0]
    assert result.filter(pl.col("horizon") == 20)["churn"].to_list() == [None, 0.0]
    assert "B" not in rank_top(broken.filter(pl.col("horizon") == 20), top_k=1)["ticker"].to_list()


def test_later_scores_change_no_earlier_churn():
    calm = churn(rank_top(panel(ten(A=2, B=1), ten(A=2, C=1), ten(A=2, B=1)), top_k=2))
    noisy = churn(rank_top(panel(ten(A=2, B=1), ten(A=2, C=1), ten(I=9, J=8)), top_k=2))
    assert calm.head(2).equals(noisy.head(2))

"""The pandas work that features and labels are measured beside gives the same numbers."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.bench.private.judging import run
from engine.bench.private.noise import noise_market
from engine.bench.private.pandas_work import pandas_features, pandas_labels
from engine.features import FACTORS, compute_labels, market_features


@pytest.fixture(scope="module")
def market():
    return noise_market(3, names=6, sessions=400, benchmark=True)


def as_polars(frame, date: str) -> pl.DataFrame:
    return pl.from_pandas(frame, nan_to_null=True).with_columns(pl.col(date).cast(pl.Date))


def test_features(market):
    theirs = pandas_features(market.bars.to_pandas(), market.benchmark.to_pandas())
    ours = market_features(market, list(FACTORS))
    assert_frame_equal(ours, as_polars(theirs, "date").select(ours.columns), rel_tol=1e-6)


def test_labels(market):
    theirs = pandas_labels(market.bars.to_pandas(), market.benchmark.to_pandas(), [5, 20])
    theirs = as_polars(theirs, "asof")
    ours = compute_labels(market, market.bars["date"].unique().sort().to_list(), [5, 20])
    assert_frame_equal(
        ours.select(theirs.columns), theirs.cast({"horizon": pl.Int32}), check_column_order=False
    )


def test_the_benchmark_reports_time_and_memory():
    arguments = ["--names", "20", "--dates", "300", "--pandas-names", "10", "--without-statistics"]
    result = run(arguments)
    assert [len(row) for row in result.rows] == [4] * 5
    assert all(row[1] > 0 for row in result.rows)
    assert result.rows[2][3] > 0

"""Mean label by quantile of the score."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pytest

from backtest.statistics.quantiles import monotonicity, quantile_returns


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


def test_monotonicity_is_the_order_of_the_quantiles():
    steps = pl.DataFrame({"quantile": [1, 2, 3], "mean_label": [0.1, 0.2, 0.3]})
    assert monotonicity(steps) == 1.0
    assert monotonicity(steps.with_columns(mean_label=-pl.col("mean_label"))) == -1.0
    assert monotonicity(steps.head(2)) is None

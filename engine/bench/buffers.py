"""What a rank buffer saves in churn and costs in RankIC, on given bars."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import polars as pl

from backtest.statistics.ic import information_coefficient
from engine.bench.result import BenchResult
from engine.config.settings import DataSettings, EvaluationSettings
from engine.data.market import load_market
from engine.decisions.dates import decision_dates
from engine.features.factors import compute_features
from engine.features.labels import compute_labels
from strategies import build_strategy

__all__ = ["SUMMARY", "run"]

SUMMARY = "median churn of the holdings and their RankIC for several rank buffers"
HORIZON = 20


def run(arguments: list[str]) -> BenchResult:
    """Momentum as the score, monthly rebalance, long the best k with buffers from none to 2."""
    parser = argparse.ArgumentParser(prog="python -m engine.bench buffers")
    parser.add_argument("--data.path", dest="path", type=Path, required=True)
    parser.add_argument("--data.benchmark", dest="benchmark")
    parser.add_argument("--factor", default="momentum_12m")
    parser.add_argument("--k", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--buffers", type=float, nargs="+", default=[0.0, 0.5, 1.0, 2.0])
    options = parser.parse_args(arguments)

    market = load_market(
        DataSettings(source="parquet", path=options.path, benchmark=options.benchmark)
    )
    asofs = decision_dates(market, EvaluationSettings(), rebalance="monthly", lookback=252)
    scores = (
        compute_features(market.bars, [options.factor])
        .filter(pl.col("date").is_in(asofs))
        .select(
            asof="date",
            ticker="ticker",
            horizon=pl.lit(HORIZON, dtype=pl.Int32),
            score=options.factor,
        )
    )
    labels = compute_labels(market, asofs, [HORIZON]).filter("mature")
    rows = [
        [k, buffer, *_measured(scores, labels, k=k, buffer=buffer)]
        for k in options.k
        for buffer in options.buffers
    ]
    return BenchResult(
        "buffers",
        ["k", "buffer", "median churn", "RankIC of holdings", "mean excess of holdings"],
        rows,
        [
            f"score {options.factor}, {len(asofs)} monthly rebalances, {HORIZON}-session labels",
            "RankIC of holdings: Spearman correlation of being held with the label, so that rows "
            "with one k can be compared; churn: share of the held names that are exchanged",
        ],
    )


def _measured(
    scores: pl.DataFrame, labels: pl.DataFrame, *, k: int, buffer: float
) -> tuple[float, float, float]:
    """Median churn, mean RankIC and mean label of the holdings."""
    weights = build_strategy("long_top_k", k=k, buffer=buffer).weights(scores)
    books = [
        set(day.filter(pl.col("weight") > 0)["ticker"])
        for day in weights.partition_by("asof", maintain_order=True)
    ]
    churn = pl.Series([1 - len(a & b) / len(b) for a, b in itertools.pairwise(books)])
    joined = weights.join(labels, on=["asof", "ticker"]).with_columns(
        score=(pl.col("weight") > 0).cast(pl.Float64), status=pl.lit("ok")
    )
    ic = information_coefficient(joined, min_cross_section=10)
    held = joined.filter(pl.col("score") > 0).group_by("asof").agg(pl.col("label").mean())
    return _number(churn.median()), _number(ic["rank_ic"].mean()), _number(held["label"].mean())


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")

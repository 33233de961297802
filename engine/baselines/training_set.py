"""What the baseline learns from: ranks of features and labels, date by date.

Features and labels enter as ranks within their date, scaled to [−½, ½] (Gu, Kelly and Xiu, 2020):
the verdict is a rank correlation within dates, so what a whole market did on a date is no lesson,
and one extreme return weighs no more than its place. Missing features stay missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from engine.data import Market
from engine.data.membership import only_members
from engine.features.factors import FACTORS, market_features
from engine.features.labels import compute_labels

__all__ = ["TrainingSet", "build_training_set", "distinct_factors"]


@dataclass(frozen=True)
class TrainingSet:
    """Features of every (date, ticker), and labels of the training dates.

    Attributes
    ----------
    names
        The features, in the order of the matrix's columns.
    keys
        row u32 (of the matrix), asof, ticker; sorted by asof and ticker.
    matrix
        f32 [rows, features], ranks in [−½, ½]; NaN where the feature is null.
    labels
        row, asof, horizon, label (rank in [−½, ½], null where there is none), mature, matures;
        sorted by horizon, asof, row. Training dates only.
    """

    names: tuple[str, ...]
    keys: pl.DataFrame
    matrix: np.ndarray
    labels: pl.DataFrame


def build_training_set(
    market: Market,
    features: Sequence[str],
    horizons: Sequence[int],
    *,
    train_dates: Sequence[date],
    asofs: Sequence[date],
) -> TrainingSet:
    """Features at both sets of dates, labels at `train_dates` (sessions of the market).

    A ticker is ranked, learned from and predicted while it is a member of the universe: that it
    will be one some day is nothing a training date knows.
    """
    names = distinct_factors(features)
    dates = sorted({*train_dates, *asofs})
    rows = (
        market_features(market, names)
        .filter(pl.col("date").is_in(dates))
        .rename({"date": "asof"})
        .pipe(only_members, market.members)
        .with_columns(_rank(name).over("asof").cast(pl.Float32) for name in names)
        .sort("asof", "ticker")
        .with_row_index("row")
    )
    keys = rows.select("row", "asof", "ticker")
    labels = (
        compute_labels(market, train_dates, horizons)
        .join(keys, on=["asof", "ticker"], how="inner")
        .with_columns(label=_rank("label").over("asof", "horizon").cast(pl.Float32))
        .select("row", "asof", "horizon", "label", "mature", "matures")
        .sort("horizon", "asof", "row")
    )
    matrix = rows.select(names).to_numpy(order="c").astype(np.float32)
    return TrainingSet(tuple(names), keys, matrix, labels)


def distinct_factors(names: Sequence[str]) -> list[str]:
    """The factors without those whose ranks are another one's: z-scores beside what they are of."""
    return [name for name in names if FACTORS[name].zscore_of not in names]


def _rank(name: str) -> pl.Expr:
    """Average rank among the values of the date, from −½ to ½; null stays null."""
    value = pl.col(name)
    return (value.rank("average") - 0.5) / value.count() - 0.5

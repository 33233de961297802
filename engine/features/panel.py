"""The panel: scores beside all that they are judged with, one row per (asof, ticker, horizon)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from engine.data import Market
from engine.features.factors import market_features
from engine.features.folds import fold_of
from engine.features.labels import compute_labels
from engine.features.regimes import classify_regimes

__all__ = ["build_panel"]


def build_panel(
    scores: pl.DataFrame,
    market: Market,
    *,
    feature_names: Sequence[str],
    horizons: Sequence[int],
    trained_until: date | None,
) -> pl.DataFrame:
    """Join scores with features, labels, regimes and fold.

    Parameters
    ----------
    scores
        asof, ticker, horizon, score and the other columns of a score frame; rows of any status.
    market
        Where features, labels and regimes come from.
    feature_names
        Keys of `factors.FACTORS`.
    horizons
        Horizons to label; rows of others keep null labels.
    trained_until
        Last date the model was trained or selected on; None: no row counts as in training.

    Returns
    -------
    The columns of `scores`, the features, label, label_next_open, total_return, matures, mature,
    label_flag, volatility_regime, trend_regime, fold and in_training (asof ≤ trained_until), as
    many rows as `scores`, sorted by (asof, ticker, horizon). A ticker without a bar at its asof has
    null features and labels.
    """
    asofs = scores["asof"].unique().sort().to_list()
    features = (
        market_features(market, feature_names)
        .filter(pl.col("date").is_in(asofs))
        .rename({"date": "asof"})
    )
    labels = compute_labels(market, asofs, horizons)
    in_training = pl.lit(False) if trained_until is None else pl.col("asof") <= trained_until
    return (
        scores.with_columns(pl.col("horizon").cast(pl.Int32))
        .join(features, on=["asof", "ticker"], how="left")
        .join(labels, on=["asof", "ticker", "horizon"], how="left")
        .join(classify_regimes(market, asofs), on="asof", how="left")
        .with_columns(fold=fold_of(), in_training=in_training)
        .sort("asof", "ticker", "horizon")
    )

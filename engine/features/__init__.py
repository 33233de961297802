"""Features, labels, regimes and folds: long frames in, long frames out."""

from __future__ import annotations

from engine.features.factors import FACTORS, compute_features, market_features
from engine.features.folds import fold_of, training_rows
from engine.features.labels import compute_labels
from engine.features.panel import build_panel
from engine.features.regimes import classify_regimes

__all__ = [
    "FACTORS",
    "build_panel",
    "classify_regimes",
    "compute_features",
    "compute_labels",
    "fold_of",
    "market_features",
    "training_rows",
]

"""One LightGBM fit: the same bits on every machine of a kind, whoever computes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.baselines.fits import Fit, Job
from engine.config.settings import LightGBMSettings

__all__ = ["Fitted", "boost", "lightgbm_parameters"]


@dataclass(frozen=True)
class Fitted:
    """Predictions for `job.predict` (f64, in its order) and the gain of each feature, summing to 1
    (0 everywhere where no tree found a split)."""

    job: Job
    prediction: np.ndarray
    gain: np.ndarray


def lightgbm_parameters(settings: LightGBMSettings, seed: int) -> dict[str, Any]:
    """Parameters of `lightgbm.train`: squared error on the label's rank, one thread."""
    tuned = ("learning_rate", "num_leaves", "min_data_in_leaf", "feature_fraction",
             "bagging_fraction", "bagging_freq", "lambda_l2")  # fmt: skip
    return {
        "objective": "regression",
        **{name: getattr(settings, name) for name in tuned},
        "seed": seed % 2**31,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }


def boost(
    matrix: np.ndarray, names: Sequence[str], fit: Fit, parameters: dict[str, Any], trees: int
) -> Fitted:
    """Train on the fit's rows of `matrix` (f32 [rows, features]) and predict its others."""
    import lightgbm

    data = lightgbm.Dataset(
        matrix[fit.rows],
        label=fit.target,
        weight=fit.weight,
        feature_name=list(names),
        params=parameters,
        free_raw_data=True,
    )
    model = lightgbm.train(parameters, data, num_boost_round=trees)
    prediction = np.asarray(model.predict(matrix[fit.job.predict], num_threads=1), dtype=np.float64)
    gain = model.feature_importance("gain").astype(np.float64)
    return Fitted(fit.job, prediction, gain / (gain.sum() or 1.0))

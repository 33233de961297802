"""Baselines that learn: LightGBM on the factor list, trained under the run's own folds."""

from __future__ import annotations

from engine.baselines.baseline import LightGBMBaseline, run_baseline

__all__ = ["LightGBMBaseline", "run_baseline"]

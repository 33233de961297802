"""Two-stage training: tokenizer, then model. ``python -m kronos.training --help``."""

from __future__ import annotations

from kronos.training.data import TrainingBars, bars_from_frame, read_bars
from kronos.training.run import TrainingResult, save, train
from kronos.training.settings import StageSettings, TrainingSettings

__all__ = [
    "StageSettings",
    "TrainingBars",
    "TrainingResult",
    "TrainingSettings",
    "bars_from_frame",
    "read_bars",
    "save",
    "train",
]

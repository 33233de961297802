"""What two-stage training computes: windows, losses, steps, validation.

Nothing here reads files or starts processes; ``python -m engine.train`` does, on Ray Train.
"""

from __future__ import annotations

from kronos.training.evaluate import (
    evaluate_model,
    evaluate_tokenizer,
    training_tables,
    validation_batches,
)
from kronos.training.objectives import ModelObjective, TokenizerObjective, share_codebook
from kronos.training.sampler import WindowSampler
from kronos.training.stage import Recipe, Stage
from kronos.training.windows import Batch, Span, TrainingBars, WindowRules, Windows, training_bars

__all__ = [
    "Batch",
    "ModelObjective",
    "Recipe",
    "Span",
    "Stage",
    "TokenizerObjective",
    "TrainingBars",
    "WindowRules",
    "WindowSampler",
    "Windows",
    "evaluate_model",
    "evaluate_tokenizer",
    "share_codebook",
    "training_bars",
    "training_tables",
    "validation_batches",
]

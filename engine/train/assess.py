"""The best weights measured: token tables beside the losses, and the test span."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.train.settings import TrainSettings
from engine.train.spans import Split, cut_windows

__all__ = ["assess"]


def assess(
    folder: Path, settings: TrainSettings, bars: Any, split: Split, stages: Sequence[str]
) -> dict[str, dict[str, dict[str, float]]]:
    """{"validation" | "test": {"tokenizer" | "model": figures}} of the checkpoint in `folder`."""
    from kronos import Kronos, KronosTokenizer
    from kronos.training import (
        WindowRules,
        evaluate_model,
        evaluate_tokenizer,
        training_tables,
        validation_batches,
    )

    rules = WindowRules(**settings.windows.arguments())
    tokenizer = KronosTokenizer.from_folder(folder / "tokenizer")
    training = cut_windows(bars, rules, split.training)
    spans = {"validation": (split.validation, split.training.last)}
    if split.test is not None:
        spans["test"] = (split.test, split.validation.last)
    found: dict[str, dict[str, dict[str, float]]] = {"validation": {}, "test": {}}
    rotate = settings.model_stage.dependency_rope == "trained"
    for name, (span, after) in spans.items():
        windows = cut_windows(bars, rules, span, after=after, name=name)
        batches = validation_batches(windows, rules, settings.validation.windows)
        if "tokenizer" in stages:
            found[name]["tokenizer"] = evaluate_tokenizer(tokenizer, batches)
        if "model" in stages:
            model = Kronos.from_folder(folder / "model")
            tables = training_tables(tokenizer, training, rules)
            found[name]["model"] = evaluate_model(
                model, tokenizer, batches, tables=tables, rotate=rotate
            )
    return found

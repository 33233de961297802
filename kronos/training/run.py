"""Two-stage training from bars to checkpoint folders.

1. keep the bars up to ``until`` and split their sessions (:func:`split_dates`);
2. train the tokenizer, then the model on its tokens;
3. write ``tokenizer/`` and ``model/`` with their cards.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kronos.tokenizer import KronosTokenizer
from kronos.training.card import write_cards
from kronos.training.data import TrainingBars
from kronos.training.model_stage import train_model
from kronos.training.settings import TrainingSettings
from kronos.training.tokenizer_stage import train_tokenizer
from kronos.training.windows import Batch, DateSplit, WindowSampler, split_dates
from kronos.transformer import Kronos

__all__ = ["TrainingResult", "save", "train"]

# Share of a time budget that the tokenizer takes.
TOKENIZER_SHARE = 0.25
VALIDATION_BATCH = 64


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """Both trained modules in eval mode, and their metrics on the held-back period."""

    tokenizer: KronosTokenizer
    model: Kronos
    split: DateSplit
    tokenizer_metrics: dict[str, float]
    model_metrics: dict[str, float]
    minutes: float


def train(
    bars: TrainingBars, settings: TrainingSettings, *, minutes: float | None = None
) -> TrainingResult:
    """Train both stages on ``bars``.

    ``minutes`` replaces the step counts of both stages by a time budget; such a run is not
    reproducible. Raises ValueError when the bars are too few for the split.
    """
    started = time.monotonic()
    gap = settings.window if settings.gap is None else settings.gap
    split = split_dates(bars.sessions, held_back=settings.held_back, gap=gap)
    sampler = WindowSampler(bars, split.train, length=settings.window, clip=settings.clip)
    held_back = WindowSampler(bars, split.held_back, length=settings.window, clip=settings.clip)
    validation = validation_batches(settings, held_back)
    sys.stderr.write(
        f"{len(bars.tickers)} tickers, {len(bars.dates)} bars ({bars.dropped} dropped); training "
        f"{split.train[0]} to {split.train[1]} ({len(sampler)} windows), held back "
        f"{split.held_back[0]} to {split.held_back[1]} ({len(held_back)} windows)\n"
    )
    budget: list[float | None] = [None, None]
    if minutes is not None:
        budget = [60 * minutes * share for share in (TOKENIZER_SHARE, 1 - TOKENIZER_SHARE)]
    tokenizer, tokenizer_metrics = train_tokenizer(settings, sampler, validation, seconds=budget[0])
    model, model_metrics = train_model(settings, tokenizer, sampler, validation, seconds=budget[1])
    return TrainingResult(
        tokenizer,
        model,
        split,
        tokenizer_metrics,
        model_metrics,
        (time.monotonic() - started) / 60,
    )


def validation_batches(settings: TrainingSettings, sampler: WindowSampler) -> list[Batch]:
    """The same windows at every look, at three context lengths of the training range."""
    low, high = settings.context
    return [
        Batch(x, stamp, context)
        for context in sorted({low, (low + high) // 2, high})
        for whole in [sampler.spread(settings.validation_windows // 3, context)]
        for x, stamp in zip(
            whole.x.split(VALIDATION_BATCH), whole.stamp.split(VALIDATION_BATCH), strict=True
        )
    ]


def save(
    result: TrainingResult,
    bars: TrainingBars,
    settings: TrainingSettings,
    out: Path,
    *,
    facts: dict[str, Any],
) -> None:
    """Write ``out/tokenizer`` and ``out/model``: weights, config and card each."""
    for part, module in (("tokenizer", result.tokenizer), ("model", result.model)):
        folder = out / part
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "README.md").unlink(missing_ok=True)
        module.save_pretrained(folder)
    write_cards(result, bars, settings, out, facts=facts)

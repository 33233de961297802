"""Stage two: the model learns the next tokens of the frozen tokenizer."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.tokenizer import KronosTokenizer
from kronos.training.baselines import TokenTables, fit_tables
from kronos.training.optimise import fit
from kronos.training.schedule import Progress
from kronos.training.settings import TrainingSettings
from kronos.training.windows import Batch, WindowSampler
from kronos.transformer import Kronos, TokenLosses

__all__ = ["encode_batch", "evaluate_model", "next_token_losses", "train_model"]

TABLE_WINDOWS = 4096


@torch.no_grad()
def encode_batch(tokenizer: KronosTokenizer, x: Tensor) -> tuple[Tensor, Tensor]:
    """(s1, s2), each [B, L], of normalised bars."""
    s1, s2 = tokenizer.encode(x, half=True)
    return s1, s2


def next_token_losses(
    model: Kronos,
    s1: Tensor,
    s2: Tensor,
    stamp: Tensor,
    *,
    weights: Tensor,
    sampled_sibling: bool = False,
    rotate: bool = True,
) -> TokenLosses:
    """Losses in nats on bars 1.. given the bars before them, causal throughout.

    Parameters
    ----------
    s1, s2 : tokens [B, L]
    stamp : [B, L, 5]
    weights : [L - 1], of the bars predicted; the loss is the weighted mean
    sampled_sibling : condition s2 on an s1 sampled from the model instead of on the true one
    rotate : whether the dependency layer knows positions
    """
    s1_logits, s2_logits = model(
        s1[:, :-1],
        s2[:, :-1],
        stamp[:, :-1],
        use_teacher_forcing=not sampled_sibling,
        s1_targets=s1[:, 1:],
        causal=True,
        rotate=rotate,
    )
    share = weights / weights.sum() / len(s1)

    def loss(logits: Tensor, ids: Tensor) -> Tensor:
        each = F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        return (each * share).sum()

    coarse, fine = loss(s1_logits, s1), loss(s2_logits, s2)
    return TokenLosses((coarse + fine) / 2, coarse, fine)


@torch.inference_mode()
def evaluate_model(
    model: Kronos,
    tokenizer: KronosTokenizer,
    batches: list[Batch],
    *,
    tables: TokenTables | None = None,
    rotate: bool = True,
) -> dict[str, float]:
    """Losses in nats on the bars after each batch's context, teacher-forced and causal.

    ``s1``, ``s2`` and ``loss`` (their mean); ``s1_all`` and ``s2_all`` over all bars of the
    windows; with ``tables`` also what the unigram and bigram tables reach on the same bars.
    """
    model.eval()
    rows = []
    for batch in batches:
        s1, s2 = encode_batch(tokenizer, batch.x)
        after = bars_after_context(s1.shape[1], batch.context)
        ahead, whole = (
            next_token_losses(model, s1, s2, batch.stamp, weights=weights, rotate=rotate)
            for weights in (after.float(), torch.ones(len(after)))
        )
        row = {
            "loss": float(ahead.mean),
            "s1": float(ahead.s1),
            "s2": float(ahead.s2),
            "s1_all": float(whole.s1),
            "s2_all": float(whole.s2),
        }
        if tables is not None:
            row |= tables.losses(s1, s2, after)
            everywhere = tables.losses(s1, s2, torch.ones_like(after))
            row |= {f"{name}_all": value for name, value in everywhere.items()}
        rows.append(row)
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def bars_after_context(length: int, context: int) -> Tensor:
    """[length - 1], true where the predicted bar (from bar 1 on) lies after the context."""
    return torch.arange(1, length) >= context


def train_model(
    settings: TrainingSettings,
    tokenizer: KronosTokenizer,
    sampler: WindowSampler,
    validation: list[Batch],
    *,
    seconds: float | None = None,
) -> tuple[Kronos, dict[str, float]]:
    """A model in eval mode, the best on ``validation``, and its metrics there with both tables."""
    torch.manual_seed(settings.seed + 1)
    rng = np.random.default_rng([settings.seed, 2])
    model = Kronos(**settings.model)
    stage = settings.model_stage
    rotate = settings.dependency_rope

    def loss() -> Tensor:
        context = int(rng.integers(settings.context[0], settings.context[1] + 1))
        batch = sampler.draw(rng, stage.batch, context)
        s1, s2 = encode_batch(tokenizer, batch.x)
        after = bars_after_context(settings.window, context)
        return next_token_losses(
            model,
            s1,
            s2,
            batch.stamp,
            weights=torch.where(after, 1.0, settings.context_weight),
            sampled_sibling=settings.sibling == "sampled",
            rotate=rotate,
        ).mean

    def evaluate() -> dict[str, float]:
        return evaluate_model(model, tokenizer, validation, rotate=rotate)

    metrics = fit(model, stage, Progress("model", stage.steps, seconds), loss, evaluate)
    tables = training_tables(settings, tokenizer, sampler)
    return model, metrics | evaluate_model(
        model, tokenizer, validation, tables=tables, rotate=rotate
    )


def training_tables(
    settings: TrainingSettings, tokenizer: KronosTokenizer, sampler: WindowSampler
) -> TokenTables:
    """Token tables of windows spread over the training span, at the middle context length."""
    batch = sampler.spread(TABLE_WINDOWS, sum(settings.context) // 2)
    parts = [encode_batch(tokenizer, x) for x in batch.x.split(256)]
    s1, s2 = (torch.cat(ids) for ids in zip(*parts, strict=True))
    return fit_tables(s1, s2, tokenizer.s1_bits, tokenizer.s2_bits)

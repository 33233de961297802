"""Validation that means something, on windows that no weight was fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.bars import COLUMNS
from kronos.tokenizer import KronosTokenizer
from kronos.training.objectives import next_token_losses
from kronos.training.windows import Batch, WindowRules, Windows
from kronos.transformer import Kronos

__all__ = ["evaluate_model", "evaluate_tokenizer", "training_tables", "validation_batches"]

BATCH = 64
TABLE_WINDOWS = 4096
# Pseudo-counts: of every token in the unigram, and of the unigram in each row of the bigram.
UNIGRAM_COUNT = 0.5
BIGRAM_COUNT = 10.0


def validation_batches(windows: Windows, rules: WindowRules, count: int) -> list[Batch]:
    """The same windows at every look: ``count`` in all, at three context lengths of the range.

    Raises ValueError when no context is long enough to predict the span alone.
    """
    contexts = rules.contexts()
    wholes = [windows.spread(max(count // len(contexts), 1), context) for context in contexts]
    batches = [part for whole in wholes if whole is not None for part in whole.split(BATCH)]
    if not batches:
        raise ValueError(f"no window of {windows.length} bars predicts only bars of {windows.span}")
    return batches


@torch.inference_mode()
def evaluate_tokenizer(tokenizer: KronosTokenizer, batches: Sequence[Batch]) -> dict[str, float]:
    """Reconstruction error in normalised units, and how much of the codebook is in use.

    ``mse``, ``mse_s1`` and ``mse_<column>`` are over whole windows, whose mean square is
    ``variance``; ``mse_context`` and ``mse_ahead`` are over the context, where the variance is 1,
    and over the bars after it. ``s1_used`` is the share of codes seen at least once,
    ``s1_perplexity`` exp(entropy) of the codes; likewise s2. ``loss`` is mse + mse_s1.
    """
    device = next(tokenizer.parameters()).device
    rows: list[dict[str, float]] = []
    ids: list[Tensor] = []
    for each in batches:
        batch = each.to(device)
        (coarse, full), _, _, codes = tokenizer(batch.x)
        error = (full - batch.x).square()
        columns = error.mean(dim=(0, 1)).tolist()
        rows.append(
            {
                "mse": float(error.mean()),
                "mse_s1": float(F.mse_loss(coarse, batch.x)),
                "mse_context": float(error[:, : batch.context].mean()),
                "mse_ahead": float(error[:, batch.context :].mean()),
                "variance": float(batch.x.square().mean()),
                **{f"mse_{name}": value for name, value in zip(COLUMNS, columns, strict=True)},
            }
        )
        ids.append(codes.flatten())
    result = average(rows, [len(batch) for batch in batches])
    joint = torch.cat(ids)
    s1_size = 2**tokenizer.s1_bits
    for name, codes, bits in (
        ("s1", joint % s1_size, tokenizer.s1_bits),
        ("s2", joint // s1_size, tokenizer.s2_bits),
    ):
        share = torch.bincount(codes, minlength=2**bits).double() / len(codes)
        result[f"{name}_used"] = float((share > 0).double().mean())
        result[f"{name}_perplexity"] = float(torch.special.entr(share).sum().exp())
    return {"loss": result["mse"] + result["mse_s1"], **result}


@torch.inference_mode()
def evaluate_model(
    model: Kronos,
    tokenizer: KronosTokenizer,
    batches: Sequence[Batch],
    *,
    tables: TokenTables | None = None,
    rotate: bool = True,
) -> dict[str, float]:
    """Losses in nats on the bars after each batch's context, teacher-forced and causal.

    ``s1``, ``s2`` and ``loss`` (their mean); ``s1_all`` and ``s2_all`` over all bars of the
    windows; with ``tables`` also what the unigram and bigram tables reach on the same bars.
    """
    device = next(model.parameters()).device
    tokenizer.to(device)
    rows = []
    for each in batches:
        batch = each.to(device)
        s1, s2 = tokenizer.encode(batch.x, half=True)
        after = torch.arange(1, s1.shape[1], device=device) >= batch.context
        ahead, whole = (
            next_token_losses(model, s1, s2, batch.stamp, weights=weights, rotate=rotate)
            for weights in (after.float(), torch.ones(len(after), device=device))
        )
        row = {
            "loss": float(ahead.mean),
            "s1": float(ahead.s1),
            "s2": float(ahead.s2),
            "s1_all": float(whole.s1),
            "s2_all": float(whole.s2),
        }
        if tables is not None:
            s1, s2, after = s1.cpu(), s2.cpu(), after.cpu()
            row |= tables.losses(s1, s2, after)
            everywhere = tables.losses(s1, s2, torch.ones_like(after))
            row |= {f"{name}_all": value for name, value in everywhere.items()}
        rows.append(row)
    return average(rows, [len(batch) for batch in batches])


def average(rows: Sequence[dict[str, float]], weights: Sequence[int]) -> dict[str, float]:
    """Means over batches, each counting as many times as it has windows."""
    return {
        name: float(np.average([row[name] for row in rows], weights=weights)) for name in rows[0]
    }


@torch.inference_mode()
def training_tables(
    tokenizer: KronosTokenizer,
    windows: Windows,
    rules: WindowRules,
    *,
    count: int = TABLE_WINDOWS,
) -> TokenTables:
    """Tables of ``count`` windows spread over the training span, at the middle context length."""
    batch = windows.spread(count, sum(rules.context) // 2)
    assert batch is not None, "training windows lie wholly in their span"
    device = next(tokenizer.parameters()).device
    parts = [tokenizer.encode(part.x.to(device), half=True) for part in batch.split(256)]
    s1, s2 = (torch.cat(ids).cpu() for ids in zip(*parts, strict=True))
    return fit_tables(s1, s2, tokenizer.s1_bits, tokenizer.s2_bits)


@dataclass(frozen=True, eq=False)
class TokenTables:
    """Log probabilities.

    Attributes
    ----------
    s1, s2 : [V]
        Unigrams.
    next_s1 : [V, V]
        Row = s1 of the bar before.
    s2_given_s1 : [V1, V2]
        Row = s1 of the same bar, which the model's s2 is conditioned on too.
    """

    s1: Tensor
    s2: Tensor
    next_s1: Tensor
    s2_given_s1: Tensor

    def losses(self, s1: Tensor, s2: Tensor, keep: Tensor) -> dict[str, float]:
        """Mean losses in nats of bars 1.. of tokens [B, L] where ``keep`` [L - 1] is true."""
        before, after, fine = s1[:, :-1][:, keep], s1[:, 1:][:, keep], s2[:, 1:][:, keep]
        return {
            "s1_unigram": -float(self.s1[after].mean()),
            "s1_bigram": -float(self.next_s1[before, after].mean()),
            "s2_unigram": -float(self.s2[fine].mean()),
            "s2_bigram": -float(self.s2_given_s1[after, fine].mean()),
        }


def fit_tables(s1: Tensor, s2: Tensor, s1_bits: int, s2_bits: int) -> TokenTables:
    """Tables of tokens [B, L], bigrams smoothed towards the unigram."""
    sizes = 2**s1_bits, 2**s2_bits
    one, two = unigram(s1, sizes[0]), unigram(s2, sizes[1])
    return TokenTables(
        one.log(),
        two.log(),
        conditional(s1[:, :-1], s1[:, 1:], one, sizes[0]).log(),
        conditional(s1, s2, two, sizes[0]).log(),
    )


def unigram(ids: Tensor, size: int) -> Tensor:
    counts = torch.bincount(ids.flatten(), minlength=size).double() + UNIGRAM_COUNT
    return counts / counts.sum()


def conditional(given: Tensor, ids: Tensor, prior: Tensor, rows: int) -> Tensor:
    size = len(prior)
    pairs = (given * size + ids).flatten()
    counts = torch.bincount(pairs, minlength=rows * size).view(rows, size).double()
    counts = counts + BIGRAM_COUNT * prior
    return counts / counts.sum(dim=1, keepdim=True)

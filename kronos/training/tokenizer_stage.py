"""Stage one: the tokenizer learns to reconstruct bars from its codes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.tokenizer import KronosTokenizer
from kronos.training.optimise import fit
from kronos.training.schedule import Progress
from kronos.training.settings import TrainingSettings
from kronos.training.windows import Batch, WindowSampler

__all__ = ["evaluate_tokenizer", "tokenizer_loss", "train_tokenizer"]


def tokenizer_loss(tokenizer: KronosTokenizer, x: Tensor) -> Tensor:
    """(MSE from s1 alone + MSE from the full code + quantizer loss) / 2, of ``x`` [B, L, 6]."""
    (coarse, full), quantizer_loss, _, _ = tokenizer(x)
    return (F.mse_loss(coarse, x) + F.mse_loss(full, x) + quantizer_loss) / 2


@torch.inference_mode()
def evaluate_tokenizer(tokenizer: KronosTokenizer, batches: list[Batch]) -> dict[str, float]:
    """Reconstruction error in normalised units, and how much of the codebook is in use.

    ``mse`` and ``mse_s1`` are over whole windows, whose mean square is ``variance``;
    ``mse_context`` is over the context part, where it is 1.
    ``used`` is the share of codes seen at least once; ``perplexity`` is exp(entropy) of the codes.
    """
    tokenizer.eval()
    full, coarse, context, variance, ids = [], [], [], [], []
    for batch in batches:
        (from_s1, from_both), _, _, _ = tokenizer(batch.x)
        coarse.append(F.mse_loss(from_s1, batch.x))
        full.append(F.mse_loss(from_both, batch.x))
        context.append(F.mse_loss(from_both[:, : batch.context], batch.x[:, : batch.context]))
        variance.append(batch.x.square().mean())
        ids.append(torch.stack(tokenizer.encode(batch.x, half=True)).flatten(1))
    parts = {"mse": full, "mse_s1": coarse, "mse_context": context, "variance": variance}
    result = {name: float(torch.stack(values).mean()) for name, values in parts.items()}
    for name, codes, bits in zip(
        ("s1", "s2"), torch.cat(ids, dim=1), (tokenizer.s1_bits, tokenizer.s2_bits), strict=True
    ):
        share = torch.bincount(codes, minlength=2**bits).double() / len(codes)
        result[f"{name}_used"] = float((share > 0).double().mean())
        result[f"{name}_perplexity"] = float(torch.special.entr(share).sum().exp())
    return result


def train_tokenizer(
    settings: TrainingSettings,
    sampler: WindowSampler,
    validation: list[Batch],
    *,
    seconds: float | None = None,
) -> tuple[KronosTokenizer, dict[str, float]]:
    """A tokenizer in eval mode, the best on ``validation``, and its metrics there."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng([settings.seed, 1])
    tokenizer = KronosTokenizer(**settings.tokenizer)
    stage = settings.tokenizer_stage

    def loss() -> Tensor:
        context = int(rng.integers(settings.context[0], settings.context[1] + 1))
        return tokenizer_loss(tokenizer, sampler.draw(rng, stage.batch, context).x)

    def evaluate() -> dict[str, float]:
        metrics = evaluate_tokenizer(tokenizer, validation)
        return {"loss": metrics["mse"] + metrics["mse_s1"], **metrics}

    metrics = fit(tokenizer, stage, Progress("tokenizer", stage.steps, seconds), loss, evaluate)
    return tokenizer, metrics

"""What a worker computes from its part of a step: the loss to minimise and what is told of it.

An objective is a module whose ``forward`` gives the loss, so that DistributedDataParallel can wrap
it and average gradients over workers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kronos.decoding.sampling import inverse_cdf
from kronos.quantizer import BinarySphericalQuantizer
from kronos.tokenizer import KronosTokenizer
from kronos.training.sampler import Draw
from kronos.transformer import Kronos, TokenLosses

__all__ = [
    "ModelObjective",
    "Objective",
    "TokenizerObjective",
    "next_token_losses",
    "share_codebook",
    "tokenizer_loss",
]

Conditioning = Literal["teacher", "sampled"]
Average = Callable[[Tensor], Tensor]


class Objective(nn.Module, ABC):
    """A stage's module and its loss.

    ``forward(*arguments(draw))`` gives the loss and named figures of the same windows; ``trained``
    is the module that is saved.
    """

    trained: Any

    @abstractmethod
    def arguments(self, draw: Draw, device: torch.device) -> tuple[Any, ...]:
        """What ``forward`` takes for a draw, on the device."""


class TokenizerObjective(Objective):
    """Stage one: the tokenizer learns to reconstruct bars from their codes."""

    def __init__(self, tokenizer: KronosTokenizer) -> None:
        super().__init__()
        self.trained = tokenizer

    def arguments(self, draw: Draw, device: torch.device) -> tuple[Any, ...]:
        return (draw.batch.x.to(device),)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss, codes = tokenizer_loss(self.trained, x)
        return loss, {"s1_used": share_used(codes, self.trained.s1_bits)}


class ModelObjective(Objective):
    """Stage two: the model learns the next tokens of the frozen tokenizer.

    Parameters
    ----------
    context_weight
        Weight of the loss on bars inside the context, relative to 1 after it. Inside, the
        statistics of the window tell something of the bars to come.
    rotate
        Whether the dependency layer is trained with rotation, as published models were.
    """

    def __init__(
        self,
        model: Kronos,
        tokenizer: KronosTokenizer,
        *,
        conditioning: Conditioning,
        context_weight: float,
        rotate: bool,
    ) -> None:
        super().__init__()
        self.trained = model
        # Not a submodule: its weights are neither trained nor synchronised.
        self.encode = FrozenEncoder(tokenizer)
        self.conditioning, self.context_weight, self.rotate = conditioning, context_weight, rotate

    def arguments(self, draw: Draw, device: torch.device) -> tuple[Any, ...]:
        batch = draw.batch
        s1, s2 = self.encode(batch.x.to(device))
        predicted = torch.arange(1, batch.x.shape[1])
        weights = torch.where(predicted >= batch.context, 1.0, self.context_weight)
        noise = torch.from_numpy(draw.noise) if self.conditioning == "sampled" else None
        return (
            s1,
            s2,
            batch.stamp.to(device),
            weights.to(device),
            None if noise is None else noise.to(device),
        )

    def forward(
        self, s1: Tensor, s2: Tensor, stamp: Tensor, weights: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        losses = next_token_losses(
            self.trained, s1, s2, stamp, weights=weights, sibling_noise=noise, rotate=self.rotate
        )
        return losses.mean, {"s1": losses.s1.detach(), "s2": losses.s2.detach()}


class FrozenEncoder:
    """Tokens of normalised bars, without gradients."""

    def __init__(self, tokenizer: KronosTokenizer) -> None:
        self.tokenizer = tokenizer.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.tokenizer.to(x.device)
        s1, s2 = self.tokenizer.encode(x, half=True)
        return s1, s2


def tokenizer_loss(tokenizer: KronosTokenizer, x: Tensor) -> tuple[Tensor, Tensor]:
    """(MSE from s1 alone + MSE from the full code + quantizer loss) / 2, and the codes [B, L].

    ``x`` [B, L, 6] are normalised bars.
    """
    (coarse, full), quantizer_loss, _, codes = tokenizer(x)
    return (F.mse_loss(coarse, x) + F.mse_loss(full, x) + quantizer_loss) / 2, codes


def next_token_losses(
    model: Kronos,
    s1: Tensor,
    s2: Tensor,
    stamp: Tensor,
    *,
    weights: Tensor,
    sibling_noise: Tensor | None = None,
    rotate: bool = True,
) -> TokenLosses:
    """Losses in nats on bars 1.. given the bars before them, causal throughout.

    Parameters
    ----------
    s1, s2 : [B, L]
    stamp : [B, L, 5]
    weights : [L - 1]
        Of the bars predicted; the loss is the weighted mean.
    sibling_noise : [B, L - 1] or None
        Uniforms: s2 is conditioned on an s1 sampled with them from the model's own distribution.
        None conditions it on the true s1 (teacher forcing).
    rotate
        Whether the dependency layer knows positions, as in published training.
    """
    s1_logits, hidden = model.decode_s1(s1[:, :-1], s2[:, :-1], stamp[:, :-1])
    sibling = s1[:, 1:] if sibling_noise is None else sampled_sibling(s1_logits, sibling_noise)
    dependent = model.dep_layer(hidden, model.embedding.emb_s1(sibling), causal=True, rotate=rotate)
    s2_logits = model.head.proj_s2(dependent)
    share = weights / weights.sum() / len(s1)

    def loss(logits: Tensor, ids: Tensor) -> Tensor:
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        each = F.cross_entropy(wide.transpose(1, 2), ids[:, 1:], reduction="none")
        return (each * share).sum()

    coarse, fine = loss(s1_logits, s1), loss(s2_logits, s2)
    return TokenLosses((coarse + fine) / 2, coarse, fine)


@torch.no_grad()
def sampled_sibling(logits: Tensor, noise: Tensor) -> Tensor:
    """One token [B, T] from each distribution of ``logits`` [B, T, V], by uniforms [B, T]."""
    chosen = inverse_cdf(logits.float().softmax(dim=-1).flatten(0, 1), noise.flatten())
    return chosen.view_as(noise)


def share_used(codes: Tensor, bits: int) -> Tensor:
    """Share of the s1 codes that occur among joint ``codes``; bit j of s1 is bit j of a code."""
    return (codes & (2**bits - 1)).unique().numel() / torch.tensor(2.0**bits)


class SharedQuantizer(BinarySphericalQuantizer):
    """The quantizer of a worker, pricing the codebook use of all workers' windows together.

    The entropy of the average code is no average of the workers' entropies, so the averages are
    shared. Gradients need no more than that: every worker's own part has slope one, and
    DistributedDataParallel averages the rest.
    """

    average: Average

    def average_code(self, per_bit: Tensor) -> Tensor:
        own = super().average_code(per_bit)
        if not self.training:  # a worker that looks at validation windows does so alone
            return own
        return own + (self.average(own.detach()) - own.detach())


def share_codebook(tokenizer: KronosTokenizer, average: Average) -> None:
    """Let ``tokenizer`` price the codebook over all workers; ``average`` means over them."""
    own = tokenizer.tokenizer.bsq
    shared = SharedQuantizer(
        own.bits, own.beta, own.gamma0, own.gamma, own.zeta, own.group_size
    ).to(own.basis.device)
    shared.average = average
    tokenizer.tokenizer.bsq = shared

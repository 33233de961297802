"""What a worker computes from its part of a step: the loss to minimise and what is told of it.

An objective is a module whose ``forward`` gives the loss, so that DistributedDataParallel can wrap
it and average gradients over workers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kronos.quantizer import BinarySphericalQuantizer, entropy
from kronos.tokenizer import KronosTokenizer
from kronos.training.losses import next_token_losses, tokenizer_loss
from kronos.training.sampler import Draw
from kronos.training.settings import Conditioning
from kronos.transformer import Kronos

__all__ = ["ModelObjective", "Objective", "TokenizerObjective", "share_codebook"]

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

    context_weight : weight of the loss on bars inside the context, relative to 1 after it. Inside,
        the statistics of the window tell something of the bars to come.
    rotate : whether the dependency layer is trained with rotation, as published models were
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

    def entropies(self, z: Tensor) -> tuple[Tensor, Tensor]:
        positive = torch.sigmoid(4 * z / self.bits**0.5)
        per_bit = torch.stack((positive, 1 - positive), dim=-1)
        own = per_bit.flatten(0, -3).mean(dim=0)
        together = own
        if self.training:  # a worker that looks at validation windows does so alone
            together = own + (self.average(own.detach()) - own.detach())
        return entropy(per_bit).sum(dim=-1).mean(), entropy(together).sum()


def share_codebook(tokenizer: KronosTokenizer, average: Average) -> None:
    """Let ``tokenizer`` price the codebook over all workers; ``average`` means over them."""
    own = tokenizer.tokenizer.bsq
    shared = SharedQuantizer(
        own.bits, own.beta, own.gamma0, own.gamma, own.zeta, own.group_size
    ).to(own.basis.device)
    shared.average = average
    tokenizer.tokenizer.bsq = shared

"""How often a model in fewer bits would choose the same token."""

from __future__ import annotations

import torch
from torch import Tensor

from kronos.transformer import Kronos

__all__ = ["token_agreement"]


@torch.inference_mode()
def token_agreement(
    model: Kronos, reference: Kronos, s1: Tensor, s2: Tensor, stamp: Tensor
) -> float:
    """Share of greedy choices, of s1 and of s2, in which ``model`` agrees with ``reference``.

    Both see the same tokens (ids [B, T], stamp [B, T, 5]) and choose the next pair after each
    position but the last, s2 given the true next s1.
    """

    def choices(which: Kronos) -> Tensor:
        logits = which(
            s1[:, :-1], s2[:, :-1], stamp[:, :-1], None, True, s1[:, 1:], causal=True, rotate=False
        )
        return torch.stack([part.argmax(dim=-1) for part in logits])

    return float((choices(model) == choices(reference)).double().mean())

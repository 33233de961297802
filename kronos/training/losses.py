"""What the two stages minimise (Kronos, arXiv 2508.02739)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.decoding.sampling import inverse_cdf
from kronos.tokenizer import KronosTokenizer
from kronos.transformer import Kronos, TokenLosses

__all__ = ["next_token_losses", "tokenizer_loss"]


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
    s1, s2 : tokens [B, L]
    stamp : [B, L, 5]
    weights : [L - 1], of the bars predicted; the loss is the weighted mean
    sibling_noise : uniforms [B, L - 1]: s2 is conditioned on an s1 sampled with them from the
        model's own distribution. None conditions it on the true s1 (teacher forcing).
    rotate : whether the dependency layer knows positions, as in published training
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

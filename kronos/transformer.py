"""The model: next (s1, s2) given all token pairs so far and their calendar time."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kronos.embeddings import HierarchicalEmbedding, TemporalEmbedding
from kronos.layers import Attention, RMSNorm, TransformerBlock
from kronos.weights.checkpoint import CheckpointMixin

__all__ = ["Kronos", "TokenLosses", "token_agreement"]

DEPENDENCY_HEADS = 4


class TokenLosses(NamedTuple):
    """Cross-entropies in nats: their mean (what is minimised) and the two parts."""

    mean: Tensor
    s1: Tensor
    s2: Tensor


class DependencyLayer(nn.Module):
    """Makes s2 depend on s1: norm(hidden + attention from the embedding of s1 to hidden)."""

    def __init__(self, d_model: int, attn_dropout_p: float, resid_dropout_p: float) -> None:
        super().__init__()
        self.cross_attn = Attention(d_model, DEPENDENCY_HEADS, attn_dropout_p, resid_dropout_p)
        self.norm = RMSNorm(d_model)

    def forward(
        self,
        hidden: Tensor,
        sibling: Tensor,
        *,
        causal: bool,
        rotate: bool,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """``hidden`` [B, T, D] and ``sibling`` [B, T or 1, D] to [B, T, D]."""
        mixed = self.cross_attn(
            sibling, hidden, causal=causal, rotate=rotate, padding_mask=padding_mask
        )
        return self.norm(hidden + mixed)


class DualHead(nn.Module):
    """The two linear heads, and the loss on both."""

    def __init__(self, s1_bits: int, s2_bits: int, d_model: int) -> None:
        super().__init__()
        self.proj_s1 = nn.Linear(d_model, 2**s1_bits)
        self.proj_s2 = nn.Linear(d_model, 2**s2_bits)

    def compute_loss(
        self,
        s1_logits: Tensor,
        s2_logits: Tensor,
        s1_targets: Tensor,
        s2_targets: Tensor,
        padding_mask: Tensor | None = None,
    ) -> TokenLosses:
        """Mean cross-entropies of logits [B, T, V] for targets [B, T], without padded positions."""
        keep = slice(None) if padding_mask is None else ~padding_mask.bool().reshape(-1)

        def loss(logits: Tensor, targets: Tensor) -> Tensor:
            return F.cross_entropy(logits.flatten(0, 1)[keep], targets.reshape(-1)[keep])

        s1, s2 = loss(s1_logits, s1_targets), loss(s2_logits, s2_targets)
        return TokenLosses((s1 + s2) / 2, s1, s2)


class Kronos(CheckpointMixin):
    """Decoder-only transformer over token pairs. The arguments are those of ``config.json``."""

    def __init__(
        self,
        s1_bits: int,
        s2_bits: int,
        n_layers: int,
        d_model: int,
        n_heads: int,
        ff_dim: int,
        ffn_dropout_p: float,
        attn_dropout_p: float,
        resid_dropout_p: float,
        token_dropout_p: float,
        learn_te: bool,
    ) -> None:
        super().__init__()
        self.s1_bits, self.s2_bits = s1_bits, s2_bits
        self.d_model, self.n_layers = d_model, n_layers
        self.embedding = HierarchicalEmbedding(s1_bits, s2_bits, d_model)
        self.time_emb = TemporalEmbedding(d_model, learn_te)
        self.token_drop = nn.Dropout(token_dropout_p)
        self.transformer = nn.ModuleList(
            TransformerBlock(
                d_model, n_heads, ff_dim, ffn_dropout_p, attn_dropout_p, resid_dropout_p
            )
            for _ in range(n_layers)
        )
        self.norm = RMSNorm(d_model)
        self.dep_layer = DependencyLayer(d_model, attn_dropout_p, resid_dropout_p)
        self.head = DualHead(s1_bits, s2_bits, d_model)

    def forward(
        self,
        s1_ids: Tensor,
        s2_ids: Tensor,
        stamp: Tensor | None = None,
        padding_mask: Tensor | None = None,
        use_teacher_forcing: bool = False,
        s1_targets: Tensor | None = None,
        *,
        causal: bool | None = None,
        rotate: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Logits of the next s1 and s2 at every position.

        Parameters
        ----------
        s1_ids, s2_ids : [B, T]
        stamp : [B, T, 5]
            See :func:`kronos.time_features`.
        padding_mask : [B, T]
            True where there is no bar.
        use_teacher_forcing
            Condition s2 on ``s1_targets`` [B, T] instead of on an s1 sampled from the model's
            own logits.
        causal
            Whether s2 at a position is kept from seeing later positions. None, as published
            implementations do: in training mode only. For a loss that means something, pass True.
        rotate
            Whether the dependency layer knows positions. Published models are trained with True and
            decoded without (see :meth:`decode_s2`).

        Returns
        -------
        s1 logits : [B, T, 2^s1_bits]
        s2 logits : [B, T, 2^s2_bits]
        """
        hidden = self.hidden_states(s1_ids, s2_ids, stamp, padding_mask)
        s1_logits = self.head.proj_s1(hidden)
        if use_teacher_forcing:
            if s1_targets is None:
                raise ValueError("use_teacher_forcing needs s1_targets, the next s1 of each bar")
            sibling = s1_targets
        else:
            probabilities = s1_logits.detach().softmax(dim=-1).flatten(0, 1)
            sibling = torch.multinomial(probabilities, 1).view_as(s1_ids)
        dependent = self.dep_layer(
            hidden,
            self.embedding.emb_s1(sibling),
            causal=self.training if causal is None else causal,
            rotate=rotate,
            padding_mask=padding_mask,
        )
        return s1_logits, self.head.proj_s2(dependent)

    def hidden_states(
        self,
        s1_ids: Tensor,
        s2_ids: Tensor,
        stamp: Tensor | None = None,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """The normed output [B, T, D] of the last block."""
        x = self.embedding(s1_ids, s2_ids)
        if stamp is not None:
            x = x + self.time_emb(stamp)
        x = self.token_drop(x)
        for block in self.transformer:
            x = block(x, padding_mask)
        return self.norm(x)

    def decode_s1(
        self,
        s1_ids: Tensor,
        s2_ids: Tensor,
        stamp: Tensor | None = None,
        padding_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """s1 logits [B, T, 2^s1_bits], and the hidden states [B, T, D] that decode_s2 takes."""
        hidden = self.hidden_states(s1_ids, s2_ids, stamp, padding_mask)
        return self.head.proj_s1(hidden), hidden

    def decode_s2(
        self, context: Tensor, s1_ids: Tensor, padding_mask: Tensor | None = None
    ) -> Tensor:
        """s2 logits [B, T, 2^s2_bits] given the next s1 ``s1_ids`` [B, 1]; the last one counts.

        With one s1 a row the dependency layer does not rotate at all, as published decoding does,
        although training rotates by true positions.
        """
        single = s1_ids.shape[1] == 1
        sibling = self.embedding.emb_s1(s1_ids)
        dependent = self.dep_layer(
            context, sibling, causal=False, rotate=not single, padding_mask=padding_mask
        )
        return self.head.proj_s2(dependent)

    def next_s1_logits(self, hidden: Tensor) -> Tensor:
        """s1 logits [B, 2^s1_bits] after the last position of ``hidden`` [B, T, D]."""
        return self.head.proj_s1(hidden[:, -1])

    def next_s2_logits(self, hidden: Tensor, s1: Tensor, *, rotate: bool = False) -> Tensor:
        """s2 logits [B, 2^s2_bits] after the last position, given the next s1 [B].

        ``rotate`` gives the query and the keys their true positions, as in training.
        """
        sibling = self.embedding.emb_s1(s1).unsqueeze(1)
        mixed = self.dep_layer.cross_attn(
            sibling, hidden, causal=False, rotate=rotate, start=hidden.shape[1] - 1
        )
        return self.head.proj_s2(self.dep_layer.norm(hidden[:, -1] + mixed[:, 0]))


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

"""The tokenizer: a bar becomes two small integers (s1 coarse, s2 fine) and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kronos.layers import TransformerBlock
from kronos.quantizer import BSQuantizer, bits_to_index, index_to_bits
from kronos.weights.checkpoint import CheckpointMixin

__all__ = ["KronosTokenizer"]


class KronosTokenizer(CheckpointMixin):
    """Causal encoder → binary spherical quantizer → causal decoder over normalised bars.

    The arguments are those of ``config.json``. The encoder and the decoder build one block fewer
    than ``n_enc_layers`` and ``n_dec_layers`` say, as the published checkpoints do.
    """

    def __init__(
        self,
        d_in: int,
        d_model: int,
        n_heads: int,
        ff_dim: int,
        n_enc_layers: int,
        n_dec_layers: int,
        ffn_dropout_p: float,
        attn_dropout_p: float,
        resid_dropout_p: float,
        s1_bits: int,
        s2_bits: int,
        beta: float,
        gamma0: float,
        gamma: float,
        zeta: float,
        group_size: int,
    ) -> None:
        super().__init__()
        self.d_in, self.d_model = d_in, d_model
        self.s1_bits, self.s2_bits = s1_bits, s2_bits
        self.codebook_dim = s1_bits + s2_bits

        def blocks(count: int) -> nn.ModuleList:
            return nn.ModuleList(
                TransformerBlock(
                    d_model, n_heads, ff_dim, ffn_dropout_p, attn_dropout_p, resid_dropout_p
                )
                for _ in range(count - 1)
            )

        self.embed = nn.Linear(d_in, d_model)
        self.head = nn.Linear(d_model, d_in)
        self.encoder = blocks(n_enc_layers)
        self.decoder = blocks(n_dec_layers)
        self.quant_embed = nn.Linear(d_model, self.codebook_dim)
        self.post_quant_embed_pre = nn.Linear(s1_bits, d_model)
        self.post_quant_embed = nn.Linear(self.codebook_dim, d_model)
        self.tokenizer = BSQuantizer(s1_bits, s2_bits, beta, gamma0, gamma, zeta, group_size)

    def forward(self, x: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor, Tensor]:
        """Reconstruct normalised bars ``x`` [B, T, d_in].

        Returns
        -------
        (from s1 alone, from the full code) : each [B, T, d_in]
        loss : scalar
            The quantizer's.
        codes : [B, T, bits]
            ±1/√bits.
        joint index : [B, T]
            Over all bits.
        """
        loss, codes, index = self.tokenizer(self._encode(x))
        coarse = self._decode(self.post_quant_embed_pre(codes[..., : self.s1_bits]))
        full = self._decode(self.post_quant_embed(codes))
        return (coarse, full), loss, codes, index

    def encode(self, x: Tensor, half: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Token ids of normalised bars ``x`` [B, T, d_in].

        The joint index [B, T], or with ``half`` the pair (s1, s2), each [B, T].
        """
        z = self._encode(x)
        return self.tokenizer.indices(z) if half else bits_to_index(z > 0)

    def decode(self, x: Tensor | Sequence[Tensor], half: bool = False) -> Tensor:
        """Normalised bars [B, T, d_in] of token ids: a joint index, or with ``half`` (s1, s2)."""
        if half:
            s1, s2 = x
        else:
            bits = index_to_bits(torch.as_tensor(x), self.codebook_dim)
            s1 = bits_to_index(bits[..., : self.s1_bits])
            s2 = bits_to_index(bits[..., self.s1_bits :])
        codes = self.tokenizer.corners(s1, s2).type_as(self.head.weight)
        return self._decode(self.post_quant_embed(codes))

    def _encode(self, x: Tensor) -> Tensor:
        z = self.embed(x)
        for block in self.encoder:
            z = block(z)
        return self.quant_embed(z)

    def _decode(self, z: Tensor) -> Tensor:
        for block in self.decoder:
            z = block(z)
        return self.head(z)

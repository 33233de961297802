"""Weights of transformer blocks as the compiled kernel reads them (``csrc/forward.c``)."""

from __future__ import annotations

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.fast.native import Block, advise, call
from kronos.layers import Attention, RotaryEmbedding, TransformerBlock

__all__ = ["LANES", "PAIR", "NativeBlock", "NativeLinear", "padded_width", "pairs_first", "run"]

LANES = 16
PAIR = 2 * LANES


def padded_width(width: int) -> int:
    """Floats that a head of ``width`` takes: whole panels."""
    return -(-width // PAIR) * PAIR


def panels(weight: Tensor) -> Tensor:
    """[N, K] to [N / PAIR, K, PAIR], N filled up with zeros."""
    weight = F.pad(weight.float(), (0, 0, 0, -len(weight) % PAIR))
    packed = torch.empty(len(weight) // PAIR, weight.shape[1], PAIR)
    return advise(packed).copy_(weight.unflatten(0, (-1, PAIR)).transpose(1, 2))


def fill_heads(rows: Tensor, heads: int) -> Tensor:
    """Rows [heads · width, ...], each head filled up with zeros to :func:`padded_width`."""
    split = rows.unflatten(0, (heads, -1))
    filler = split.new_zeros(heads, padded_width(split.shape[1]) - split.shape[1], *rows.shape[1:])
    return torch.cat((split, filler), dim=1).flatten(0, 1)


def pairs_first(rows: Tensor, heads: int) -> Tensor:
    """Rows [heads · width, ...] of half-split pairs, filled up, in the order of rotated panels.

    A panel holds the first members of LANES pairs and then the second members of the same.
    """
    halves = rows.unflatten(0, (heads, 2, -1))
    half = padded_width(2 * halves.shape[2]) // 2
    filler = halves.new_zeros(heads, 2, half - halves.shape[2], *rows.shape[1:])
    filled = torch.cat((halves, filler), dim=2).unflatten(2, (-1, LANES))
    return filled.transpose(1, 2).flatten(0, 3)


def rotations(rotary: RotaryEmbedding, positions: int) -> Tensor:
    """[positions, width / PAIR, 2, LANES]: cosines and sines of each panel's pairs."""
    inv_freq = rotary.inv_freq.float()
    angles = torch.outer(torch.arange(positions).float(), inv_freq)
    angles = F.pad(angles, (0, -angles.shape[1] % LANES)).unflatten(1, (-1, LANES))
    return torch.stack((angles.cos(), angles.sin()), dim=2).contiguous()


class NativeLinear:
    """x [R, K] → x Wᵀ + b [R, N], N a multiple of PAIR."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.outer, self.inner = weight.shape
        self.weight = panels(weight)
        filled = len(self.weight) * PAIR
        self.bias = torch.zeros(filled)
        if bias is not None:
            self.bias[: self.outer] = bias

    def __call__(self, x: Tensor) -> Tensor:
        x = x.contiguous()
        out = torch.empty(len(x), len(self.bias))
        call("kronos_linear", x, self.weight, self.bias, out, len(x), self.inner, len(self.bias))
        return out[:, : self.outer]


class NativeBlock:
    """Packed weights of one block; without ``ffn``, of the keys and values of an attention only."""

    def __init__(
        self,
        attention: Attention,
        norm: Tensor,
        rotation: Tensor | None,
        block: TransformerBlock | None = None,
    ) -> None:
        heads = attention.n_heads
        q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
        size = q.out_features // heads
        self.heads, self.width, self.rotation = heads, padded_width(size), rotation
        parts = [(k.weight, k.bias, 1.0)]
        if block is not None:
            parts.insert(0, (q.weight, q.bias, size**-0.5))
        weights = [pairs_first(weight * scale, heads) for weight, _, scale in parts]
        biases = [pairs_first(bias * scale, heads) for _, bias, scale in parts]
        self.qkv = panels(torch.cat((*weights, fill_heads(v.weight, heads))) * norm)
        self.qkv_bias = torch.cat((*biases, fill_heads(v.bias, heads))).contiguous()
        self.out = self.out_bias = self.up = self.down = None
        self.hidden = 0
        if block is not None:
            out, ffn = attention.out_proj, block.ffn
            self.out = panels(fill_heads(out.weight.T, heads).T)
            self.out_bias = F.pad(out.bias.float(), (0, -len(out.bias) % PAIR))
            both = torch.stack([w.weight.unflatten(0, (-1, LANES)) for w in (ffn.w1, ffn.w3)], 1)
            self.up = panels(both.flatten(0, 2) * block.norm2.weight)
            self.down = panels(ffn.w2.weight)
            self.hidden = ffn.w1.out_features

    @staticmethod
    def supports(block: TransformerBlock) -> bool:
        """Whether the widths of a block are whole vectors."""
        attention, ffn = block.self_attn, block.ffn
        sizes = (attention.q_proj.in_features, ffn.w1.out_features)
        return all(size % LANES == 0 for size in sizes)

    def bound(self, layer: Tensor) -> Block:
        """The structure of ``forward.c`` that writes to a cache ``layer`` [2, R, H, T, E]."""
        tensors = (self.qkv, self.qkv_bias, self.out, self.out_bias, self.up, self.down,
                   self.rotation, layer[0], layer[1])  # fmt: skip
        pointers = (None if tensor is None else tensor.data_ptr() for tensor in tensors)
        return Block(
            *pointers, self.heads, self.width, self.hidden, layer.stride(1), layer.stride(2)
        )


def run(
    blocks: list[NativeBlock],
    layers: list[Tensor],
    x: Tensor,
    rows: Tensor,
    start: int,
    eps: float,
) -> None:
    """Run ``x`` [W, L, D] through the blocks, in place, from position ``start``.

    layers : caches [2, R, H, T, E] of the blocks, T a multiple of 8
    rows : [W], the row of the caches that each window reads and writes
    """
    bound = (Block * len(blocks))(
        *(block.bound(layer) for block, layer in zip(blocks, layers, strict=True))
    )
    windows, length, inner = x.shape
    assert x.is_contiguous()
    assert rows.is_contiguous()
    call("kronos_forward", ctypes.addressof(bound), len(blocks), x, rows, inner, windows, length,
         start, eps)  # fmt: skip

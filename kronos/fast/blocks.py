"""Transformer blocks with less arithmetic and less traffic, in torch's operators.

What differs from the modules, none of it beyond rounding:

- norm weights are folded into the linears that follow them; query, key and value are one linear;
- rotary pairs are interleaved (by permuting weight rows): a rotation is one complex product;
- linears are stock, or prepacked for oneDNN. Both kinds offer the three forms that a block needs,
  so that oneDNN can do the activation, the product and the residual sum while the result is still
  in registers.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.layers import Attention, RMSNorm, RotaryEmbedding, TransformerBlock

__all__ = ["FastBlock", "Linear", "OneDnnLinear", "Rotation", "interleaved", "linear_factory"]


class Linear(Protocol):
    """x [..., K] → x Wᵀ + b [..., N]."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None: ...
    def __call__(self, x: Tensor) -> Tensor: ...
    def silu(self, x: Tensor) -> Tensor: ...
    def times(self, x: Tensor, other: Tensor) -> Tensor: ...
    def plus(self, x: Tensor, other: Tensor) -> Tensor: ...


class StockLinear:
    """``torch.nn.functional.linear``, on any device."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight, self.bias = weight.contiguous(), bias

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def silu(self, x: Tensor) -> Tensor:
        return F.silu(self(x), inplace=True)

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        return self(x).mul_(other)

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        return self(x).add_(other)


class OneDnnLinear:
    """float32 on CPU, the weight reordered once into the blocks that oneDNN multiplies.

    The operators are private in torch: use them only where :func:`kronos.fast.kernels.check_kernel`
    found them present and right.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
        self.bias = bias
        self.run = torch.ops.mkldnn._linear_pointwise.default
        self.run_binary = torch.ops.mkldnn._linear_pointwise.binary

    def __call__(self, x: Tensor) -> Tensor:
        return self.run(x, self.weight, self.bias, "none", [], "")

    def silu(self, x: Tensor) -> Tensor:
        return self.run(x, self.weight, self.bias, "swish", [], "")

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        return self.run_binary(x, other, self.weight, self.bias, "mul")

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        return self.run_binary(x, other, self.weight, self.bias, "add")


def linear_factory(kernel: str) -> type[Linear]:
    """The class of a kernel's linears, "stock" or "onednn"."""
    kinds: dict[str, type[Linear]] = {"stock": StockLinear, "onednn": OneDnnLinear}
    return kinds[kernel]


class Rotation:
    """cos + i·sin [positions, 1, E / 2] of a rotary embedding, for interleaved pairs."""

    def __init__(self, rotary: RotaryEmbedding, positions: int) -> None:
        inv_freq = rotary.inv_freq.float()
        angles = torch.outer(torch.arange(positions, device=inv_freq.device).float(), inv_freq)
        self.table = torch.complex(angles.cos(), angles.sin()).unsqueeze(1)

    def __call__(self, x: Tensor, start: int) -> Tensor:
        """Rotate ``x`` [r, L, H, E], whose first position is ``start``."""
        pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
        turned = pairs * self.table[start : start + x.shape[1]]
        return torch.view_as_real(turned).flatten(-2).type_as(x)


def interleaved(weight: Tensor, heads: int) -> Tensor:
    """Rows [D, ...] of a projection, each head's half-split pairs put side by side."""
    split = weight.unflatten(0, (heads, 2, -1))
    return split.transpose(1, 2).flatten(0, 2)


class FastBlock:
    """One :class:`kronos.layers.TransformerBlock`."""

    def __init__(self, block: TransformerBlock, kernel: str, rotation: Rotation) -> None:
        linear = linear_factory(kernel)
        attention, ffn = block.self_attn, block.ffn
        self.heads, self.rotation = attention.n_heads, rotation
        self.eps = block.norm1.eps
        self.qkv = linear(*fused_qkv(attention, block.norm1))
        self.out = linear(attention.out_proj.weight, attention.out_proj.bias)
        scale = block.norm2.weight
        self.w1, self.w3 = linear(ffn.w1.weight * scale), linear(ffn.w3.weight * scale)
        self.w2 = linear(ffn.w2.weight)

    def project(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value [r, H, L, E] of ``x`` [r, L, D]."""
        normed = F.rms_norm(x, x.shape[-1:], None, self.eps)
        qkv = self.qkv(normed).unflatten(-1, (3 * self.heads, -1))
        turned = self.rotation(qkv[:, :, : 2 * self.heads], start)
        query, key = turned.transpose(1, 2).chunk(2, dim=1)
        return query, key, qkv[:, :, 2 * self.heads :].transpose(1, 2)

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        """The block's output, given its input [r, L, D] and what attention mixed [r, H, L, E]."""
        x = self.out.plus(mixed.transpose(1, 2).flatten(2), x)
        normed = F.rms_norm(x, x.shape[-1:], None, self.eps)
        return self.w2.plus(self.w3.times(normed, self.w1.silu(normed)), x)


def fused_qkv(attention: Attention, norm: RMSNorm) -> tuple[Tensor, Tensor]:
    """Weight [3D, D] and bias [3D] of query, key and value, the norm's weight folded in."""
    heads = attention.n_heads
    q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
    weight = torch.cat((interleaved(q.weight, heads), interleaved(k.weight, heads), v.weight))
    bias = torch.cat((interleaved(q.bias, heads), interleaved(k.bias, heads), v.bias))
    return weight * norm.weight, bias

"""The small modules that the tokenizer and the transformer are built of.

Shapes: B rows (batch), T positions (bars), D model width, H heads, E = D / H width of a head.
The attribute names are those of the published state dicts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

__all__ = ["Attention", "FeedForward", "RMSNorm", "RotaryEmbedding", "TransformerBlock"]


class RMSNorm(nn.Module):
    """x / rms(x) · weight, computed in float32 (Zhang & Sennrich, 2019)."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self.eps)
        return normed.type_as(x) * self.weight


class RotaryEmbedding(nn.Module):
    """Rotary position embedding, half-split (Su et al., 2021).

    The pair (x[i], x[i + E/2]) at position p is turned by p · base^(-2i/E).
    """

    def __init__(self, head_dim: int, base: float = 10_000.0) -> None:
        super().__init__()
        exponents = torch.arange(0, head_dim, 2).float() / head_dim
        self.register_buffer("inv_freq", 1.0 / base**exponents)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Rotate ``x`` [B, H, T, E] whose first position is ``start``."""
        positions = torch.arange(start, start + x.shape[-2], device=x.device)
        angles = torch.outer(positions.type_as(self.inv_freq), self.inv_freq)
        cos = angles.cos().repeat(1, 2).type_as(x)
        sin = angles.sin().repeat(1, 2).type_as(x)
        low, high = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-high, low), dim=-1) * sin


class Attention(nn.Module):
    """Multi-head attention from ``x`` to ``memory``, or to ``x`` itself."""

    def __init__(
        self, d_model: int, n_heads: int, attn_dropout: float = 0.0, resid_dropout: float = 0.0
    ) -> None:
        super().__init__()
        if d_model % n_heads or (d_model // n_heads) % 2:
            raise ValueError(
                f"d_model {d_model} must split into {n_heads} heads of an even width each"
            )
        self.n_heads = n_heads
        self.attn_dropout = attn_dropout
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)
        self.rotary = RotaryEmbedding(d_model // n_heads)
        self.resid_dropout = nn.Dropout(resid_dropout)

    def split_heads(self, x: Tensor) -> Tensor:
        return rearrange(x, "b t (h e) -> b h t e", h=self.n_heads)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        *,
        causal: bool,
        rotate: bool = True,
        start: int = 0,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend from ``x`` [B, T, D] to ``memory`` [B, S, D] and return [B, T, D].

        ``start`` is the position of the first query; keys start at position 0.
        ``padding_mask`` [B, S] is true at the keys that nobody may attend to.
        """
        memory = x if memory is None else memory
        query = self.split_heads(self.q_proj(x))
        key = self.split_heads(self.k_proj(memory))
        value = self.split_heads(self.v_proj(memory))
        if rotate:
            query, key = self.rotary(query, start), self.rotary(key)
        return self.attend(query, key, value, causal=causal, padding_mask=padding_mask)

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        causal: bool,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        mask = None
        if padding_mask is not None:
            mask = ~padding_mask.bool()[:, None, None, :]
            if causal:
                mask = mask & causal_mask(query.shape[-2], key.shape[-2], query.device)
        mixed = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            dropout_p=self.attn_dropout if self.training else 0.0,
            is_causal=causal and mask is None,
        )
        return self.merge(mixed)

    def merge(self, mixed: Tensor) -> Tensor:
        """The heads' results [B, H, T, E] to [B, T, D]."""
        return self.resid_dropout(self.out_proj(rearrange(mixed, "b h t e -> b t (h e)")))


def causal_mask(queries: int, keys: int, device: torch.device) -> Tensor:
    """[queries, keys], true where position ``row`` may see position ``column``."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril()


class FeedForward(nn.Module):
    """SwiGLU feed-forward: w2(silu(w1 x) · w3 x) (Shazeer, 2020)."""

    def __init__(self, d_model: int, ff_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.w1 = nn.Linear(d_model, ff_dim, bias=False)
        self.w3 = nn.Linear(d_model, ff_dim, bias=False)
        self.w2 = nn.Linear(ff_dim, d_model, bias=False)
        self.ffn_dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.ffn_dropout(self.w2(F.silu(self.w1(x)) * self.w3(x)))


class TransformerBlock(nn.Module):
    """Pre-norm block, causal in time: x + attention(norm x), then x + feed-forward(norm x)."""

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        ff_dim: int,
        ffn_dropout_p: float = 0.0,
        attn_dropout_p: float = 0.0,
        resid_dropout_p: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = RMSNorm(d_model)
        self.self_attn = Attention(d_model, n_heads, attn_dropout_p, resid_dropout_p)
        self.norm2 = RMSNorm(d_model)
        self.ffn = FeedForward(d_model, ff_dim, ffn_dropout_p)

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        x = x + self.self_attn(self.norm1(x), causal=True, padding_mask=padding_mask)
        return x + self.ffn(self.norm2(x))

    def project(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value [B, H, T, E] of ``x`` [B, T, D], whose first position is ``start``.

        With :meth:`finish` the block for a cache, which does the attention between the two.
        """
        attention, normed = self.self_attn, self.norm1(x)
        query = attention.split_heads(attention.q_proj(normed))
        key = attention.split_heads(attention.k_proj(normed))
        value = attention.split_heads(attention.v_proj(normed))
        return attention.rotary(query, start), attention.rotary(key, start), value

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        """The block's output, given its input [B, T, D] and what attention mixed [B, H, T, E]."""
        x = x + self.self_attn.merge(mixed)
        return x + self.ffn(self.norm2(x))

"""Prefill and decode steps with less arithmetic and less traffic (profile "fast").

What differs from the modules, none of it beyond rounding:

- the embeddings, their fusion and the time tables are folded into one table, summed in one go;
- norm weights are folded into the linears that follow them; query, key and value are one linear;
- rotary pairs are interleaved (by permuting weight rows): a rotation is one complex product;
- the query of the dependency layer is a table over s1;
- linears are those of :mod:`kronos.fast.linear`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kronos.decoding.cache import CacheSlice, KVCache
from kronos.decoding.decoder import Decoder
from kronos.decoding.newest import attend_newest
from kronos.embeddings import TIME_TABLES
from kronos.fast.linear import linear_factory
from kronos.layers import Attention, RMSNorm, RotaryEmbedding, TransformerBlock
from kronos.transformer import Kronos

__all__ = ["FastBlock", "FastDecoder", "Rotation", "folded_embeddings", "folded_inputs"]


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

    def __init__(self, block: TransformerBlock, kernel: str) -> None:
        linear = linear_factory(kernel)
        attention, ffn = block.self_attn, block.ffn
        self.heads = attention.n_heads
        self.eps = block.norm1.eps
        self.qkv = linear(*fused_qkv(attention, block.norm1))
        self.out = linear(attention.out_proj.weight, attention.out_proj.bias)
        scale = block.norm2.weight
        self.w1, self.w3 = linear(ffn.w1.weight * scale), linear(ffn.w3.weight * scale)
        self.w2 = linear(ffn.w2.weight)

    def project(self, x: Tensor, rotation: Rotation, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value [r, H, L, E] of ``x`` [r, L, D]."""
        normed = F.rms_norm(x, x.shape[-1:], None, self.eps)
        qkv = self.qkv(normed).unflatten(-1, (3 * self.heads, -1))
        turned = rotation(qkv[:, :, : 2 * self.heads], start)
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


class FastDecoder(Decoder):
    """The verbs of :class:`kronos.decoding.decoder.Decoder`, faster.

    kernel : of the linears, see :mod:`kronos.fast.linear`
    max_context : positions at most
    """

    by_value = True

    @torch.inference_mode()
    def __init__(
        self, model: Kronos, *, kernel: str, max_context: int, dependency_rope: bool = False
    ) -> None:
        super().__init__(model, dependency_rope=dependency_rope)
        self.kernel = kernel
        linear = linear_factory(kernel)
        self.blocks = [FastBlock(block, kernel) for block in model.transformer]
        self.rotation = Rotation(model.transformer[0].self_attn.rotary, max_context)
        self.table, self.offsets = folded_embeddings(model)
        self.eps, self.norm = model.norm.eps, model.norm.weight
        cross, layer = model.dep_layer.cross_attn, model.dep_layer
        self.cross_heads = cross.n_heads
        self.cross_rotation = Rotation(cross.rotary, max_context)

        def key_rows(projection: nn.Linear) -> tuple[Tensor, Tensor]:
            return (
                interleaved(projection.weight, cross.n_heads),
                interleaved(projection.bias, cross.n_heads),
            )

        key_weight, key_bias = key_rows(cross.k_proj)
        self.key_value = linear(
            torch.cat((key_weight, cross.v_proj.weight)) * self.norm,
            torch.cat((key_bias, cross.v_proj.bias)),
        )
        query_weight, query_bias = key_rows(cross.q_proj)
        self.queries = F.linear(model.embedding.emb_s1.weight, query_weight, query_bias)
        self.cross_out = linear(cross.out_proj.weight, cross.out_proj.bias)
        self.head_s1 = linear(model.head.proj_s1.weight * self.norm, model.head.proj_s1.bias)
        self.head_s2 = linear(
            model.head.proj_s2.weight * layer.norm.weight, model.head.proj_s2.bias
        )

    @property
    def extra_bytes(self) -> int:
        return sum(p.numel() * p.element_size() for p in self.model.parameters())

    def embed(self, s1: Tensor, s2: Tensor, stamp: Tensor) -> Tensor:
        """[r, L, D] of ids [r, L] and calendar features [r, L, 5]."""
        return folded_inputs(self.table, self.offsets, s1, s2, stamp)

    def dependency_memory(self, normed: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Key and value [r, 4, L, E] of the dependency layer."""
        pair = self.key_value(normed).unflatten(-1, (2 * self.cross_heads, -1))
        key, value = pair.chunk(2, dim=2)
        if self.dependency_rope:
            key = self.cross_rotation(key, start)
        return key.transpose(1, 2), value.transpose(1, 2)

    def prefill(self, s1: Tensor, s2: Tensor, stamp: Tensor, target: CacheSlice) -> Tensor:
        x = self.embed(s1, s2, stamp)
        for block, layer in zip(self.blocks, target.cache.blocks, strict=True):
            query, key, value = block.project(x, self.rotation, 0)
            target.write(layer, key, value)
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = block.finish(x, mixed)
        normed = F.rms_norm(x, x.shape[-1:], None, self.eps)
        target.write(target.cache.dependency, *self.dependency_memory(normed, 0))
        return normed[:, -1]

    def step(self, s1: Tensor, s2: Tensor, stamp: Tensor, cache: KVCache, position: int) -> Tensor:
        end = position + 1
        x = self.embed(s1[:, None], s2[:, None], stamp[:, None])
        for block, layer in zip(self.blocks, cache.blocks, strict=True):
            query, key, value = block.project(x, self.rotation, position)
            cache.append(layer, key, value, position)
            x = block.finish(x, attend_newest(query, layer, end))
        normed = F.rms_norm(x, x.shape[-1:], None, self.eps)
        cache.append(cache.dependency, *self.dependency_memory(normed, position), position)
        return normed[:, 0]

    def s1_logits(self, hidden: Tensor) -> Tensor:
        # ``hidden`` carries no norm weight here: it is folded into the heads.
        return self.head_s1(hidden)

    def s2_logits(self, hidden: Tensor, s1: Tensor, cache: KVCache, end: int) -> Tensor:
        query = self.queries[s1].unflatten(-1, (1, self.cross_heads, -1))
        if self.dependency_rope:
            query = self.cross_rotation(query, end - 1)
        mixed = attend_newest(query.transpose(1, 2), cache.dependency, end)
        x = self.cross_out.plus(mixed.transpose(1, 2).flatten(1), hidden * self.norm)
        return self.head_s2(F.rms_norm(x, x.shape[-1:], None, self.eps))


def folded_inputs(table: Tensor, offsets: Tensor, s1: Tensor, s2: Tensor, stamp: Tensor) -> Tensor:
    """[r, L, D] of ids [r, L] and calendar features [r, L, 5], see :func:`folded_embeddings`."""
    ids = torch.cat((s1.unsqueeze(-1), s2.unsqueeze(-1), stamp), dim=-1) + offsets
    bags = F.embedding_bag(ids.flatten(0, 1), table, mode="sum")
    return bags.unflatten(0, s1.shape)


def folded_embeddings(model: Kronos) -> tuple[Tensor, Tensor]:
    """One table [rows, D] whose rows sum to a position's input, and the first row of each part."""
    embedding, time = model.embedding, model.time_emb
    fusion = embedding.fusion_proj
    coarse, fine = fusion.weight.chunk(2, dim=1)
    parts = [
        F.linear(embedding.emb_s1.weight * embedding.scale, coarse, fusion.bias),
        F.linear(embedding.emb_s2.weight * embedding.scale, fine),
    ]
    for name in TIME_TABLES:
        table = getattr(time, f"{name}_embed")
        parts.append((table.emb if hasattr(table, "emb") else table).weight)
    sizes = torch.tensor([0] + [len(part) for part in parts[:-1]])
    return torch.cat(parts), sizes.cumsum(0).to(fusion.weight.device)

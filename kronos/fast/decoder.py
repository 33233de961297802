"""Prefill and decode steps of the fast profile, in torch's operators or in the compiled kernel.

What differs from :class:`kronos.decoding.decoder.Decoder`, none of it beyond rounding:

- the embeddings, their fusion and the time tables are folded into one table, summed in one go;
- the blocks are those of :mod:`kronos.fast.blocks` or of :mod:`kronos.fast.native`;
- the query of the dependency layer is a table over s1;
- hidden states carry no norm weight: it is folded into the heads.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kronos.decoding.cache import CacheSlice, KVCache
from kronos.decoding.decoder import Decoder, attend_newest
from kronos.embeddings import TIME_TABLES
from kronos.fast.blocks import FastBlock, Rotation, interleaved, linear_factory
from kronos.fast.native import (
    PAIR,
    NativeBlock,
    NativeLinear,
    advise,
    call,
    fill_heads,
    pairs_first,
    rotations,
    run,
)
from kronos.transformer import Kronos

__all__ = ["FastDecoder", "NativeDecoder"]

# Weight and bias in, a linear layer out.
LinearFactory = Callable[..., Callable[[Tensor], Tensor]]


class FoldedDecoder(Decoder):
    """What both decoders share: one table of inputs, and heads with the norm weights folded in."""

    by_value = True

    def __init__(
        self,
        model: Kronos,
        linear: LinearFactory,
        dependency_rope: bool,
    ) -> None:
        super().__init__(model, dependency_rope=dependency_rope)
        self.table, self.offsets = folded_embeddings(model)
        self.eps, self.norm = model.norm.eps, model.norm.weight
        head, scale = model.head, model.dep_layer.norm.weight
        self.head_s1 = linear(head.proj_s1.weight * self.norm, head.proj_s1.bias)
        self.head_s2 = linear(head.proj_s2.weight * scale, head.proj_s2.bias)

    @property
    def extra_bytes(self) -> int:
        return sum(p.numel() * p.element_size() for p in self.model.parameters())

    def embed(self, s1: Tensor, s2: Tensor, stamp: Tensor) -> Tensor:
        ids = torch.cat((s1.unsqueeze(-1), s2.unsqueeze(-1), stamp), dim=-1) + self.offsets
        bags = F.embedding_bag(ids.flatten(0, 1), self.table, mode="sum")
        return bags.unflatten(0, s1.shape)

    def normed(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], None, self.eps)

    def s1_logits(self, hidden: Tensor) -> Tensor:
        return self.head_s1(hidden)


class FastDecoder(FoldedDecoder):
    """The verbs of :class:`kronos.decoding.decoder.Decoder` in torch's operators.

    ``kernel`` is that of the linears, "stock" or "onednn"; ``max_context`` positions at most.
    """

    @torch.inference_mode()
    def __init__(
        self, model: Kronos, *, kernel: str, max_context: int, dependency_rope: bool = False
    ) -> None:
        linear = linear_factory(kernel)
        super().__init__(model, linear, dependency_rope)
        rotation = Rotation(model.transformer[0].self_attn.rotary, max_context)
        self.blocks = [FastBlock(block, kernel, rotation) for block in model.transformer]
        cross = model.dep_layer.cross_attn
        self.cross_heads = cross.n_heads
        self.cross_rotation = Rotation(cross.rotary, max_context)

        def rows(projection: nn.Linear) -> tuple[Tensor, Tensor]:
            return (
                interleaved(projection.weight, cross.n_heads),
                interleaved(projection.bias, cross.n_heads),
            )

        key_weight, key_bias = rows(cross.k_proj)
        self.key_value = linear(
            torch.cat((key_weight, cross.v_proj.weight)) * self.norm,
            torch.cat((key_bias, cross.v_proj.bias)),
        )
        self.queries = F.linear(model.embedding.emb_s1.weight, *rows(cross.q_proj))
        self.cross_out = linear(cross.out_proj.weight, cross.out_proj.bias)

    def dependency_memory(self, hidden: Tensor, start: int) -> tuple[Tensor, Tensor]:
        pair = self.key_value(hidden).unflatten(-1, (2 * self.cross_heads, -1))
        key, value = pair.chunk(2, dim=2)
        if self.dependency_rope:
            key = self.cross_rotation(key, start)
        return key.transpose(1, 2), value.transpose(1, 2)

    def s2_logits(self, hidden: Tensor, s1: Tensor, cache: KVCache, end: int) -> Tensor:
        query = self.queries[s1].unflatten(-1, (1, self.cross_heads, -1))
        if self.dependency_rope:
            query = self.cross_rotation(query, end - 1)
        mixed = attend_newest(query.transpose(1, 2), cache.dependency, end)
        x = self.cross_out.plus(mixed.transpose(1, 2).flatten(1), hidden * self.norm)
        return self.head_s2(self.normed(x))


class NativeDecoder(FoldedDecoder):
    """The same in the compiled kernel, whole forwards in one call.

    Each thread runs its own windows through all blocks, no thread waits for another, and nothing
    but the cache and the residual stream leaves the processor's caches. A row's bits depend on that
    row alone, whatever the shape of the batch.
    """

    fixed_shapes = False
    head_multiple = PAIR
    prefill_rows = 128

    @torch.inference_mode()
    def __init__(self, model: Kronos, *, max_context: int, dependency_rope: bool = False) -> None:
        super().__init__(model, NativeLinear, dependency_rope)
        turn = rotations(model.transformer[0].self_attn.rotary, max_context)
        self.blocks = [
            NativeBlock(block.self_attn, block.norm1.weight, turn, block)
            for block in model.transformer
        ]
        cross = model.dep_layer.cross_attn
        self.cross_turn = rotations(cross.rotary, max_context) if dependency_rope else None
        memory = NativeBlock(cross, self.norm, self.cross_turn)
        self.blocks.append(memory)
        self.cross_heads, self.cross_width = memory.heads, memory.width
        scale = (cross.q_proj.out_features // cross.n_heads) ** -0.5
        self.queries = F.linear(
            model.embedding.emb_s1.weight,
            pairs_first(cross.q_proj.weight * scale, cross.n_heads),
            pairs_first(cross.q_proj.bias * scale, cross.n_heads),
        )
        out = fill_heads(cross.out_proj.weight.T, cross.n_heads).T
        self.cross_out = NativeLinear(out, cross.out_proj.bias)

    @staticmethod
    def supports(model: Kronos) -> bool:
        """Whether the kernel computes models of these widths."""
        return all(map(NativeBlock.supports, model.transformer))

    def prefill_bytes(self, positions: int) -> int:
        # The input and its ids; all else stays within a thread.
        return positions * (self.model.d_model * 4 + 2 * 7 * 8)

    def new_cache(self, rows: int, length: int) -> KVCache:
        before = self.cache
        cache = super().new_cache(rows, length)
        if cache is not before:
            for layer in (*cache.blocks, cache.dependency):
                advise(layer)
        return cache

    def forward(self, x: Tensor, rows: Tensor, cache: KVCache, start: int) -> Tensor:
        """Normed hidden states [r, D] of the last of the positions ``x`` [r, L, D]."""
        run(self.blocks, [*cache.blocks, cache.dependency], x, rows, start, self.eps)
        return self.normed(x[:, -1])

    def prefill(self, s1: Tensor, s2: Tensor, stamp: Tensor, target: CacheSlice) -> Tensor:
        starts = target.first_rows(len(s1))
        hidden = self.forward(self.embed(s1, s2, stamp), starts, target.cache, 0)
        target.spread(starts, s1.shape[1])
        return hidden

    def step(self, s1: Tensor, s2: Tensor, stamp: Tensor, cache: KVCache, position: int) -> Tensor:
        x = self.embed(s1[:, None], s2[:, None], stamp[:, None])
        return self.forward(x, torch.arange(len(s1)), cache, position)

    def s2_logits(self, hidden: Tensor, s1: Tensor, cache: KVCache, end: int) -> Tensor:
        query = self.queries[s1]
        if self.cross_turn is not None:
            query = turned(query, self.cross_turn[end - 1])
        layer = cache.dependency
        call("kronos_attend", query, layer[0], layer[1], len(s1), self.cross_heads,
             self.cross_width, end, layer.stride(1), layer.stride(2))  # fmt: skip
        return self.head_s2(self.normed(self.cross_out(query) + hidden * self.norm))


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


def turned(query: Tensor, turn: Tensor) -> Tensor:
    """Queries [R, H · E] in the order of panels, rotated by ``turn`` [E / PAIR, 2, LANES]."""
    split = query.unflatten(-1, (-1, *turn.shape))
    first, second = split.unbind(-2)
    cosine, sine = turn.unbind(-2)
    both = (first * cosine - second * sine, first * sine + second * cosine)
    return torch.stack(both, dim=-2).flatten(1)

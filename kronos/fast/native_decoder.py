"""Prefill and decode steps of the fast profile in the compiled kernel.

As :mod:`kronos.fast.decoder`, with whole forwards in one call: each thread runs its own windows
through all blocks, no thread waits for another, and nothing but the cache and the residual stream
leaves the processor's caches. A row's bits depend on that row alone, whatever the batch's shape.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.decoding.cache import CacheSlice, KVCache
from kronos.decoding.decoder import Decoder
from kronos.fast.decoder import folded_embeddings, folded_inputs
from kronos.fast.native import advise, call
from kronos.fast.panels import (
    PAIR,
    NativeBlock,
    NativeLinear,
    fill_heads,
    pairs_first,
    rotations,
    run,
)
from kronos.transformer import Kronos

__all__ = ["NativeDecoder", "supported"]


def supported(model: Kronos) -> bool:
    """Whether the kernel computes models of these widths."""
    return all(NativeBlock.supports(block) for block in model.transformer)


class NativeDecoder(Decoder):
    """The verbs of :class:`kronos.decoding.decoder.Decoder`, compiled.

    max_context : positions at most
    """

    fixed_shapes = False
    head_multiple = PAIR
    prefill_rows = 128
    by_value = True

    @torch.inference_mode()
    def __init__(self, model: Kronos, *, max_context: int, dependency_rope: bool = False) -> None:
        super().__init__(model, dependency_rope=dependency_rope)
        self.table, self.offsets = folded_embeddings(model)
        self.eps, self.norm = model.norm.eps, model.norm.weight
        turn = rotations(model.transformer[0].self_attn.rotary, max_context)
        self.blocks = [
            NativeBlock(block.self_attn, block.norm1.weight, turn, block)
            for block in model.transformer
        ]
        cross, layer, head = model.dep_layer.cross_attn, model.dep_layer, model.head
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
        self.head_s1 = NativeLinear(head.proj_s1.weight * self.norm, head.proj_s1.bias)
        self.head_s2 = NativeLinear(head.proj_s2.weight * layer.norm.weight, head.proj_s2.bias)

    @property
    def extra_bytes(self) -> int:
        return sum(p.numel() * p.element_size() for p in self.model.parameters())

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
        return F.rms_norm(x[:, -1], x.shape[-1:], None, self.eps)

    def prefill(self, s1: Tensor, s2: Tensor, stamp: Tensor, target: CacheSlice) -> Tensor:
        x = folded_inputs(self.table, self.offsets, s1, s2, stamp)
        starts = target.first_rows(len(s1))
        hidden = self.forward(x, starts, target.cache, 0)
        target.spread(starts, s1.shape[1])
        return hidden

    def step(self, s1: Tensor, s2: Tensor, stamp: Tensor, cache: KVCache, position: int) -> Tensor:
        x = folded_inputs(self.table, self.offsets, s1[:, None], s2[:, None], stamp[:, None])
        return self.forward(x, torch.arange(len(s1)), cache, position)

    def s1_logits(self, hidden: Tensor) -> Tensor:
        # ``hidden`` carries no norm weight here: it is folded into the heads.
        return self.head_s1(hidden)

    def s2_logits(self, hidden: Tensor, s1: Tensor, cache: KVCache, end: int) -> Tensor:
        query = self.queries[s1]
        if self.cross_turn is not None:
            query = turned(query, self.cross_turn[end - 1])
        layer = cache.dependency
        call("kronos_attend", query, layer[0], layer[1], len(s1), self.cross_heads,
             self.cross_width, end, layer.stride(1), layer.stride(2))  # fmt: skip
        x = self.cross_out(query) + hidden * self.norm
        return self.head_s2(F.rms_norm(x, x.shape[-1:], None, self.eps))


def turned(query: Tensor, turn: Tensor) -> Tensor:
    """Queries [R, H · E] in the order of panels, rotated by ``turn`` [E / PAIR, 2, LANES]."""
    split = query.unflatten(-1, (-1, *turn.shape))
    first, second = split.unbind(-2)
    cosine, sine = turn.unbind(-2)
    both = (first * cosine - second * sine, first * sine + second * cosine)
    return torch.stack(both, dim=-2).flatten(1)

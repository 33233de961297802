"""Prefill and decode steps in the arithmetic of the modules themselves (profile "exact").

Shapes: r or R rows, L positions, D width, V tokens. A decoder has four verbs:

1. :meth:`Decoder.prefill` runs a context and fills a cache;
2. :meth:`Decoder.step` runs one more position of every row;
3. :meth:`Decoder.s1_logits` and
4. :meth:`Decoder.s2_logits` price the next token after the last position alone.
"""

from __future__ import annotations

from torch import Tensor

from kronos.decoding.cache import CacheSlice, KVCache, blocks_up_to
from kronos.decoding.newest import attend_newest
from kronos.layers import Attention
from kronos.transformer import Kronos

__all__ = ["Decoder"]


class Decoder:
    """Cached decoding of ``model``.

    dependency_rope : whether the dependency layer rotates by true positions, as in training
    fixed_shapes : whether a row's last bits depend on the number of rows beside it
    head_multiple : heads in the cache are filled up to a multiple of this width
    prefill_rows : contexts that run together at most
    by_value : whether sampling takes the cheaper top-p
    """

    fixed_shapes = True
    head_multiple = 1
    # Few rows of a whole context already fill the cores, and their activations stay in the cache.
    prefill_rows = 8
    by_value = False

    def __init__(self, model: Kronos, *, dependency_rope: bool = False) -> None:
        self.model = model
        self.dependency_rope = dependency_rope
        weight = model.head.proj_s1.weight
        self.device, self.dtype = weight.device, weight.dtype
        self.cache: KVCache | None = None

    def new_cache(self, rows: int, length: int) -> KVCache:
        """A cache for ``rows`` rows of ``length`` positions: the last one again if it fits."""
        if self.cache is None or (self.cache.rows, self.cache.length) != (
            rows,
            blocks_up_to(length),
        ):
            self.cache = None  # freed before the next one is allocated
            self.cache = KVCache(
                self.model, rows, length, self.device, self.dtype, self.head_multiple
            )
        return self.cache

    @property
    def extra_bytes(self) -> int:
        """Memory this decoder takes beside the model's own weights."""
        return 0

    def prefill_bytes(self, positions: int) -> int:
        """Memory that a prefill takes for each row, roughly."""
        width = max(block.ffn.w1.out_features for block in self.model.transformer)
        return positions * (8 * self.model.d_model + 2 * width) * self.dtype.itemsize

    def prefill(self, s1: Tensor, s2: Tensor, stamp: Tensor, target: CacheSlice) -> Tensor:
        """Run contexts (ids [r, L], stamp [r, L, 5]) from position 0 and fill ``target``.

        Returns the normed hidden state [r, D] of the last position.
        """
        model, cache = self.model, target.cache
        x = model.embedding(s1, s2) + model.time_emb(stamp)
        for block, layer in zip(model.transformer, cache.blocks, strict=True):
            attention, normed = block.self_attn, block.norm1(x)
            query, key, value = project(attention, normed, normed, rotate=True)
            target.write(layer, key, value)
            x = x + attention.attend(query, key, value, causal=True)
            x = x + block.ffn(block.norm2(x))
        hidden = model.norm(x)
        cross = model.dep_layer.cross_attn
        key = cross.split_heads(cross.k_proj(hidden))
        value = cross.split_heads(cross.v_proj(hidden))
        target.write(cache.dependency, cross.rotary(key) if self.dependency_rope else key, value)
        return hidden[:, -1]

    def step(self, s1: Tensor, s2: Tensor, stamp: Tensor, cache: KVCache, position: int) -> Tensor:
        """Run one position of every row (ids [R], stamp [R, 5]); returns hidden [R, D]."""
        model, end = self.model, position + 1
        x = model.embedding(s1[:, None], s2[:, None]) + model.time_emb(stamp[:, None])
        for block, layer in zip(model.transformer, cache.blocks, strict=True):
            attention, normed = block.self_attn, block.norm1(x)
            query, key, value = project(attention, normed, normed, rotate=True, start=position)
            cache.append(layer, key, value, position)
            x = x + attention.merge(attend_newest(query, layer, end))
            x = x + block.ffn(block.norm2(x))
        hidden = model.norm(x)
        cross = model.dep_layer.cross_attn
        key = cross.split_heads(cross.k_proj(hidden))
        value = cross.split_heads(cross.v_proj(hidden))
        key = cross.rotary(key, position) if self.dependency_rope else key
        cache.append(cache.dependency, key, value, position)
        return hidden[:, 0]

    def s1_logits(self, hidden: Tensor) -> Tensor:
        """[R, V] of the next s1."""
        return self.model.head.proj_s1(hidden)

    def s2_logits(self, hidden: Tensor, s1: Tensor, cache: KVCache, end: int) -> Tensor:
        """[R, V] of the next s2 given the next ``s1`` [R]; ``end`` positions are in the cache."""
        model = self.model
        cross = model.dep_layer.cross_attn
        query = cross.split_heads(cross.q_proj(model.embedding.emb_s1(s1).unsqueeze(1)))
        if self.dependency_rope:
            query = cross.rotary(query, end - 1)
        mixed = cross.merge(attend_newest(query, cache.dependency, end))
        return model.head.proj_s2(model.dep_layer.norm(hidden + mixed[:, 0]))


def project(
    attention: Attention, x: Tensor, memory: Tensor, *, rotate: bool, start: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Query of ``x``, key and value of ``memory``, each [r, H, L, E]."""
    query = attention.split_heads(attention.q_proj(x))
    key = attention.split_heads(attention.k_proj(memory))
    value = attention.split_heads(attention.v_proj(memory))
    if rotate:
        query, key = attention.rotary(query, start), attention.rotary(key, start)
    return query, key, value

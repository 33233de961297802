"""Prefill and decode steps in the arithmetic of the modules themselves (profile "exact").

Shapes: r or R rows, L positions, D width, V tokens. A decoder has four verbs:

1. :meth:`Decoder.prefill` runs a context and fills a cache;
2. :meth:`Decoder.step` runs one more position of every row;
3. :meth:`Decoder.s1_logits` and
4. :meth:`Decoder.s2_logits` price the next token after the last position alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.decoding.cache import CacheSlice, KVCache, blocks_up_to
from kronos.transformer import Kronos

__all__ = ["Decoder", "attend_newest", "capture_steps"]


class Decoder:
    """Cached decoding of ``model``.

    Attributes
    ----------
    dependency_rope
        Whether the dependency layer rotates by true positions, as in training.
    fixed_shapes
        Whether a row's last bits depend on the number of rows beside it.
    head_multiple
        Heads in the cache are filled up to a multiple of this width.
    prefill_rows
        Contexts that run together at most.
    by_value
        Whether sampling takes the cheaper top-p.
    """

    fixed_shapes = True
    head_multiple = 1
    # Few rows of a whole context already fill the cores, and their activations stay in the cache.
    prefill_rows = 8
    by_value = False

    def __init__(self, model: Kronos, *, dependency_rope: bool = False) -> None:
        self.model = model
        self.blocks: Sequence[Any] = model.transformer
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

    def embed(self, s1: Tensor, s2: Tensor, stamp: Tensor) -> Tensor:
        """[r, L, D] of ids [r, L] and calendar features [r, L, 5]."""
        return self.model.embedding(s1, s2) + self.model.time_emb(stamp)

    def normed(self, x: Tensor) -> Tensor:
        """Hidden states of the last block's output ``x`` [r, L, D]."""
        return self.model.norm(x)

    def prefill(self, s1: Tensor, s2: Tensor, stamp: Tensor, target: CacheSlice) -> Tensor:
        """Run contexts (ids [r, L], stamp [r, L, 5]) from position 0 and fill ``target``.

        Returns the normed hidden state [r, D] of the last position.
        """
        x = self.embed(s1, s2, stamp)
        for block, layer in zip(self.blocks, target.cache.blocks, strict=True):
            query, key, value = block.project(x, 0)
            target.write(layer, key, value)
            x = block.finish(x, F.scaled_dot_product_attention(query, key, value, is_causal=True))
        hidden = self.normed(x)
        target.write(target.cache.dependency, *self.dependency_memory(hidden, 0))
        return hidden[:, -1]

    def step(self, s1: Tensor, s2: Tensor, stamp: Tensor, cache: KVCache, position: int) -> Tensor:
        """Run one position of every row (ids [R], stamp [R, 5]); returns hidden [R, D]."""
        x = self.embed(s1[:, None], s2[:, None], stamp[:, None])
        for block, layer in zip(self.blocks, cache.blocks, strict=True):
            query, key, value = block.project(x, position)
            cache.append(layer, key, value, position)
            x = block.finish(x, attend_newest(query, layer, position + 1))
        hidden = self.normed(x)
        cache.append(cache.dependency, *self.dependency_memory(hidden, position), position)
        return hidden[:, 0]

    def dependency_memory(self, hidden: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Key and value [r, 4, L, E] that the dependency layer keeps of ``hidden`` [r, L, D]."""
        cross = self.model.dep_layer.cross_attn
        key = cross.split_heads(cross.k_proj(hidden))
        value = cross.split_heads(cross.v_proj(hidden))
        return cross.rotary(key, start) if self.dependency_rope else key, value

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


def attend_newest(query: Tensor, layer: Tensor, end: int) -> Tensor:
    """Attention of one query a row [R, H, 1, E] to the first ``end`` positions of a cache layer.

    Torch's CPU attention gives a row other last bits on another thread when there is one query: its
    scratch memory is then aligned differently from thread to thread. Here all scores are padded to
    whole aligned blocks, so a row's bits depend on that row alone.

    ``layer`` [2, R, H, T, E] holds keys and values, finite up to the next multiple of 16. Returns
    [R, H, 1, E].
    """
    if layer.device.type != "cpu":
        return F.scaled_dot_product_attention(query, layer[0, :, :, :end], layer[1, :, :, :end])
    _, rows, heads, length, width = layer.shape
    keys, values = layer.view(2, rows * heads, length, width)[:, :, : blocks_up_to(end)]
    scores = torch.bmm(query.reshape(rows * heads, 1, width) * width**-0.5, keys.transpose(1, 2))
    scores[:, :, end:] = -torch.inf
    return torch.bmm(scores.softmax(dim=-1), values).view(rows, heads, 1, width)


class CapturedSteps:
    """Stands in for ``decoder.step``: one launch a step in place of some two hundred.

    The first step at each position of a cache is captured.

    A decoder uses its cache again for every batch of the same shape, so later batches and calls
    replay. A graph reads its inputs from tensors that stay in place.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.eager = decoder.step
        self.cache: KVCache | None = None
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self.inputs: tuple[Tensor, Tensor, Tensor] | None = None

    def __call__(
        self, s1: Tensor, s2: Tensor, stamp: Tensor, cache: KVCache, position: int
    ) -> Tensor:
        if cache is not self.cache:
            self.cache, self.graphs = cache, {}
            self.inputs = (s1.clone(), s2.clone(), stamp.clone())
            self.pool = torch.cuda.graph_pool_handle()
        assert self.inputs is not None
        for held, given in zip(self.inputs, (s1, s2, stamp), strict=True):
            held.copy_(given)
        if position not in self.graphs:
            self.graphs[position] = self.capture(cache, position)
        graph, hidden = self.graphs[position]
        graph.replay()
        # The next replay overwrites what this one returned.
        return hidden.clone()

    def capture(self, cache: KVCache, position: int) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        assert self.inputs is not None
        # A run outside the graph first, for libraries that allocate at their first use. It writes
        # what the replay will write again.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.eager(*self.inputs, cache, position)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            hidden = self.eager(*self.inputs, cache, position)
        return graph, hidden


def capture_steps(decoder: Decoder) -> None:
    """Replay the decode steps of ``decoder`` from CUDA graphs. Raises ValueError off CUDA."""
    if decoder.device.type != "cuda":
        raise ValueError(f"cuda_graphs=True needs a CUDA device, not {decoder.device.type}")
    decoder.step = CapturedSteps(decoder)  # type: ignore[method-assign]

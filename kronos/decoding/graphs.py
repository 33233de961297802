"""Decode steps replayed from CUDA graphs: one launch a step in place of some two hundred."""

from __future__ import annotations

import torch
from torch import Tensor

from kronos.decoding.cache import KVCache
from kronos.decoding.decoder import Decoder

__all__ = ["capture_steps"]


class CapturedSteps:
    """Stands in for ``decoder.step``. The first step at each position of a cache is captured.

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

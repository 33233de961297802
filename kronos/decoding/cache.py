"""The keys and values that a decode step needs of all earlier positions."""

from __future__ import annotations

import torch
from torch import Tensor

from kronos.transformer import DEPENDENCY_HEADS, Kronos

__all__ = [
    "BLOCK",
    "DECODED_TOGETHER",
    "CacheSlice",
    "KVCache",
    "blocks_up_to",
    "cache_bytes_per_row",
    "up_to",
]

# Floats in 64 bytes: rows of scores that are whole blocks are all aligned alike.
BLOCK = 16
# Forecast bars that the tokenizer decodes at a time, a multiple of BLOCK.
DECODED_TOGETHER = 32


def up_to(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def blocks_up_to(length: int) -> int:
    """``length``, up to the next multiple of BLOCK."""
    return up_to(length, BLOCK)


class KVCache:
    """One static tensor [2, R, H, T, E] (keys, values) for each block and the dependency layer.

    The blocks keep rotated keys. The dependency layer keeps the keys and values of the normed
    hidden states. Nothing is ever grown: position p of a row is written in place, and a step at
    position p reads [:p + 1]. T is a multiple of ``BLOCK``, and values behind the newest position
    are zero up to the next multiple, so that attention may read whole blocks.
    """

    def __init__(
        self,
        model: Kronos,
        rows: int,
        length: int,
        device: torch.device,
        dtype: torch.dtype,
        head_multiple: int = 1,
    ) -> None:
        """A head's width is filled up to a multiple of ``head_multiple``."""
        length = blocks_up_to(length)
        self.rows, self.length = rows, length

        def layer(heads: int) -> Tensor:
            width = up_to(model.d_model // heads, head_multiple)
            shape = (2, rows, heads, length, width)
            return torch.empty(shape, device=device, dtype=dtype)

        self.blocks = [layer(block.self_attn.n_heads) for block in model.transformer]
        self.dependency = layer(DEPENDENCY_HEADS)

    @staticmethod
    def append(layer: Tensor, key: Tensor, value: Tensor, position: int) -> None:
        """Key and value [R, H, 1, E] of every row at ``position``."""
        end = position + 1
        layer[0, :, :, position:end] = key
        layer[1, :, :, position:end] = value
        if position % BLOCK == 0:
            layer[1, :, :, end : blocks_up_to(end)] = 0


class CacheSlice:
    """The rows of a cache that one prefill fills.

    Rows ``start`` to ``stop`` of the cache take the rows ``index`` [stop - start] of the prefill;
    None takes them in order.
    """

    def __init__(self, cache: KVCache, start: int, stop: int, index: Tensor | None = None) -> None:
        self.cache, self.start, self.stop, self.index = cache, start, stop, index

    def write(self, layer: Tensor, keys: Tensor, values: Tensor) -> None:
        """Keys and values [r, H, L, E] to positions 0..L-1 of ``layer`` [2, R, H, T, E]."""
        length = keys.shape[2]
        for kind, source in enumerate((keys, values)):
            target = layer[kind, self.start : self.stop, :, :length]
            if self.index is None:
                target.copy_(source[: self.stop - self.start])
            else:
                target.copy_(source[self.index])
        layer[1, self.start : self.stop, :, length : blocks_up_to(length)] = 0

    def first_rows(self, windows: int) -> Tensor:
        """[windows], the first row of the cache that takes each row of the prefill."""
        if self.index is None:
            return torch.arange(self.start, self.start + windows)
        return self.start + torch.searchsorted(self.index, torch.arange(windows))

    def spread(self, firsts: Tensor, length: int) -> None:
        """Copy ``length`` positions of the rows ``firsts`` to the others of the same window."""
        if self.index is None:
            return
        ends = [*firsts[1:].tolist(), self.stop]
        for layer in (*self.cache.blocks, self.cache.dependency):
            for first, end in zip(firsts.tolist(), ends, strict=True):
                past = layer[:, :, :, :length]
                past[:, first + 1 : end] = past[:, first : first + 1]


def cache_bytes_per_row(
    model: Kronos, length: int, dtype: torch.dtype = torch.float32, head_multiple: int = 1
) -> int:
    """Bytes that one row of ``length`` positions takes in a :class:`KVCache`."""
    heads = [block.self_attn.n_heads for block in model.transformer] + [DEPENDENCY_HEADS]
    floats = sum(n * up_to(model.d_model // n, head_multiple) for n in heads)
    return 2 * blocks_up_to(length) * floats * dtype.itemsize

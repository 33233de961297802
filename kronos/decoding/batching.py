"""How many rows run together: bounded by memory, by what is fast, or fixed by the caller."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kronos.decoding.cache import cache_bytes_per_row
from kronos.decoding.decoder import Decoder

__all__ = ["BatchShape", "default_budget", "fitting_shape", "fixed_shape", "is_out_of_memory"]

# Windows that the tokenizer's own modules take together.
TOKEN_ROWS = 8
# Decoding reads every weight once a step, however many rows there are.
DECODE_ROWS = {"cpu": 128, "mps": 256, "cuda": 4096}


@dataclass(frozen=True)
class BatchShape:
    """Rows of every decode step, of every prefill, and of the tokenizer's forwards."""

    decode_rows: int
    prefill_rows: int
    token_rows: int


def fixed_shape(decoder: Decoder, batch_rows: int) -> BatchShape:
    """One shape for every call, so that a row's bits depend on nothing beside it."""
    return BatchShape(
        batch_rows, min(decoder.prefill_rows, batch_rows), min(TOKEN_ROWS, batch_rows)
    )


def fitting_shape(
    decoder: Decoder, rows: int, windows: int, positions: int, *, budget: int, limit: int | None
) -> BatchShape:
    """The largest even split of ``rows`` within ``budget`` bytes and ``limit`` rows.

    positions : of a row, context and forecast together
    """
    prefill_rows = even(windows, decoder.prefill_rows)
    model = decoder.model
    a_prefill = decoder.prefill_bytes(positions)
    cache = cache_bytes_per_row(model, positions, decoder.dtype, decoder.head_multiple)
    a_row = cache + 64 * (2**model.s1_bits + 2**model.s2_bits)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    free = budget - weights - decoder.extra_bytes - prefill_rows * a_prefill
    most = min(max(1, free // a_row), DECODE_ROWS[decoder.device.type], limit or rows)
    return BatchShape(even(rows, most), prefill_rows, even(windows, TOKEN_ROWS))


def even(count: int, most: int) -> int:
    """Size of the parts when ``count`` is split in as few, as equal parts of at most ``most``."""
    return math.ceil(count / math.ceil(count / most))


def default_budget(device: torch.device) -> int:
    """Bytes: 60 % of what is free on a CUDA device, elsewhere 2 GB."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * 0.6)
    return 2_000_000_000


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on the device or on the CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(
        sign in text for sign in ("can't allocate memory", "not enough memory", "out of memory")
    )


def row_chunks(rows: Tensor, size: int | None) -> list[tuple[Tensor, int]]:
    """(rows, how many of them count): all at once, or ``size`` a chunk, short ones filled up."""
    if size is None:
        return [(rows, len(rows))]
    chunks = []
    for part in rows.split(size):
        filler = part[-1:].expand(size - len(part), *part.shape[1:])
        chunks.append((torch.cat((part, filler)), len(part)))
    return chunks

"""Normalised windows in, normalised forecast bars out, in batches that fit."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from kronos.decoding.cache import cache_bytes_per_row
from kronos.decoding.decoder import Decoder
from kronos.decoding.generation import Tokens, decode_tokens, generate_cached, generate_tokens
from kronos.decoding.sampling import GlobalNoise, Noise, Sampling, SeededNoise
from kronos.devices import default_budget, is_out_of_memory, random_state, set_random_state
from kronos.tokenizer import KronosTokenizer

__all__ = ["BarsDecoder", "Request", "Runner", "row_chunks"]

log = logging.getLogger("kronos")
# Windows that the tokenizer's own modules take together.
TOKEN_ROWS = 8
# Decoding reads every weight once a step, however many rows there are.
DECODE_ROWS = {"cpu": 128, "mps": 256, "cuda": 4096}


@dataclass(frozen=True)
class Request:
    """One batch of windows of one length.

    Attributes
    ----------
    x : float32 [W, L, 6]
        Normalised and clipped.
    stamp : int64 [W, L + steps, 5]
    uniforms : float64 [W · paths, steps, 2] or None
        See :func:`kronos.decoding.sampling.path_uniforms`.
    batch_rows : int or None
        Rows of every decode step; None chooses by memory.
    """

    x: np.ndarray
    stamp: np.ndarray
    steps: int
    paths: int
    sampling: Sampling
    uniforms: np.ndarray | None = None
    batch_rows: int | None = None
    cache: bool = True
    on_step: Callable[[int], None] | None = None


class BarsDecoder(Protocol):
    def bars(self, s1: Tensor, s2: Tensor, windows: Tensor, steps: int) -> Tensor:
        """Normalised bars [R, steps, 6] of the last ``steps`` of ids [R, L].

        ``windows`` [R] ascend; rows of one window have the same context.
        """


@dataclass(frozen=True)
class BatchShape:
    """Rows of every decode step, of every prefill, and of the tokenizer's forwards."""

    decode_rows: int
    prefill_rows: int
    token_rows: int


@dataclass
class Runner:
    """A decoder and a tokenizer; remembers the batch size that memory allowed.

    Attributes
    ----------
    bars_decoder, encoder
        None takes the tokenizer's own modules.
    memory_budget : int or None
        Bytes for weights, caches and activations; None takes
        :func:`kronos.devices.default_budget`.
    row_limit : int or None
        Set when memory failed; later calls stay below it.
    """

    decoder: Decoder
    tokenizer: KronosTokenizer
    max_context: int
    bars_decoder: BarsDecoder | None = None
    encoder: Callable[[Tensor], Tokens] | None = None
    memory_budget: int | None = None
    row_limit: int | None = None

    @property
    def device(self) -> torch.device:
        return self.decoder.device

    @torch.inference_mode()
    def run(self, request: Request) -> tuple[np.ndarray, int]:
        """Bars [W · paths, steps, 6], and the rows of a decode step they were computed with.

        An allocation that fails halves the batch and the call goes on, unless ``batch_rows`` fixes
        the shape: then MemoryError.
        """
        if not len(request.x):
            return np.empty((0, request.steps, request.x.shape[2]), np.float32), 0
        while True:
            shape = self._shape(request)
            try:
                return self._run(request, shape), shape.decode_rows
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if request.batch_rows is not None or shape.decode_rows == 1:
                    raise MemoryError(
                        f"a batch of {shape.decode_rows} rows does not fit in memory; "
                        + ("lower batch_rows" if request.batch_rows else "shorten the context")
                    ) from error
            self.decoder.cache = None
            self.row_limit = shape.decode_rows // 2
            log.warning(
                "out of memory with %d rows a batch; going on with at most %d",
                shape.decode_rows,
                self.row_limit,
            )

    def _shape(self, request: Request) -> BatchShape:
        """The rows asked for, whatever stands beside them, so that a row's bits depend on nothing
        else; or the largest even split within the budget and the limit."""
        decoder, model, fixed = self.decoder, self.decoder.model, request.batch_rows
        if fixed is not None:
            return BatchShape(fixed, min(decoder.prefill_rows, fixed), min(TOKEN_ROWS, fixed))
        windows, length = request.x.shape[:2]
        positions, rows = length + request.steps, windows * request.paths
        prefill_rows = even(windows, decoder.prefill_rows)
        cache = cache_bytes_per_row(model, positions, decoder.dtype, decoder.head_multiple)
        a_row = cache + 64 * (2**model.s1_bits + 2**model.s2_bits)
        taken = sum(p.numel() * p.element_size() for p in model.parameters())
        taken += decoder.extra_bytes + prefill_rows * decoder.prefill_bytes(positions)
        free = (self.memory_budget or default_budget(self.device)) - taken
        most = min(max(1, free // a_row), DECODE_ROWS[self.device.type], self.row_limit or rows)
        return BatchShape(even(rows, most), prefill_rows, even(windows, TOKEN_ROWS))

    def _run(self, request: Request, shape: BatchShape) -> np.ndarray:
        s1, s2 = self._encode(torch.from_numpy(request.x).to(self.device), request, shape)
        stamp = torch.from_numpy(request.stamp).to(self.device)
        rows = torch.arange(len(s1) * request.paths, device=self.device)
        uniforms = None if request.uniforms is None else torch.from_numpy(request.uniforms)
        state = random_state(self.device)
        bars = []
        for chunk, kept in row_chunks(rows, shape.decode_rows):
            noise: Noise
            if uniforms is None:
                # Every batch takes its part of the same draws.
                set_random_state(self.device, state)
                noise = GlobalNoise(len(rows), chunk)
            else:
                noise = SeededNoise(self._to_device(uniforms[chunk.cpu()]))
            windows = chunk // request.paths
            tokens = self._generate(request, (s1, s2), stamp, windows, noise, shape)
            decoded = self._decode(request, tokens, windows, shape)
            bars.append(decoded[:kept].float().cpu())
        return torch.cat(bars).numpy()

    def _encode(self, x: Tensor, request: Request, shape: BatchShape) -> Tokens:
        if self.encoder is not None and request.cache:
            return self.encoder(x)
        # In the tokenizer's own arithmetic: a bit is a sign, and another kernel's rounding would
        # flip a few.
        encoded = [
            torch.stack(self.tokenizer.encode(part, half=True))[:, :kept]
            for part, kept in row_chunks(x, shape.token_rows)
        ]
        s1, s2 = torch.cat(encoded, dim=1)
        return s1, s2

    def _generate(
        self,
        request: Request,
        tokens: Tokens,
        stamp: Tensor,
        windows: Tensor,
        noise: Noise,
        shape: BatchShape,
    ) -> Tokens:
        how: dict[str, Any] = {
            "steps": request.steps,
            "max_context": self.max_context,
            "sampling": request.sampling,
            "noise": noise,
            "on_step": request.on_step,
        }
        decoder = self.decoder
        if request.cache:
            how |= {"windows": windows, "prefill_rows": shape.prefill_rows}
            return generate_cached(decoder, tokens, stamp, **how)
        s1, s2 = (ids[windows] for ids in tokens)
        how["dependency_rope"] = decoder.dependency_rope
        return generate_tokens(decoder.model, (s1, s2), stamp[windows], **how)

    def _decode(
        self, request: Request, tokens: Tokens, windows: Tensor, shape: BatchShape
    ) -> Tensor:
        """Normalised bars [R, steps, 6] of the generated part of ``tokens`` [R, L + steps]."""
        s1, s2 = (ids[:, -self.max_context :] for ids in tokens)
        if self.bars_decoder is not None and request.cache:
            return self.bars_decoder.bars(s1, s2, windows, request.steps)
        numbers = torch.arange(len(windows), device=self.device)
        return torch.cat(
            [
                decode_tokens(self.tokenizer, (s1[part], s2[part]), steps=request.steps)[:kept]
                for part, kept in row_chunks(numbers, shape.token_rows)
            ]
        )

    def _to_device(self, noise: Tensor) -> Tensor:
        # MPS has no float64.
        return (noise.float() if self.device.type == "mps" else noise).to(self.device)


def even(count: int, most: int) -> int:
    """Size of the parts when ``count`` is split in as few, as equal parts of at most ``most``."""
    return math.ceil(count / math.ceil(count / most))


def row_chunks(rows: Tensor, size: int) -> list[tuple[Tensor, int]]:
    """(rows, how many of them count), ``size`` a chunk, short ones filled up with copies."""
    chunks = []
    for part in rows.split(size):
        filler = part[-1:].expand(size - len(part), *part.shape[1:])
        chunks.append((torch.cat((part, filler)), len(part)))
    return chunks

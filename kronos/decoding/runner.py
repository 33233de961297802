"""Normalised windows in, normalised forecast bars out, in batches that fit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kronos.decoding.batching import (
    BatchShape,
    default_budget,
    fitting_shape,
    fixed_shape,
    is_out_of_memory,
    row_chunks,
)
from kronos.decoding.decoder import Decoder
from kronos.decoding.generation import (
    Tokens,
    decode_tokens,
    encode_windows,
    generate_cached,
    generate_tokens,
)
from kronos.decoding.sampling import GlobalNoise, Noise, Sampling, SeededNoise
from kronos.tokenizer import KronosTokenizer

__all__ = ["BarsDecoder", "Request", "Runner"]

log = logging.getLogger("kronos")


@dataclass(frozen=True)
class Request:
    """One batch of windows of one length.

    x : float32 [W, L, 6], normalised and clipped
    stamp : int64 [W, L + steps, 5]
    uniforms : float64 [W · paths, steps, 2] or None, see
        :func:`kronos.decoding.sampling.path_uniforms`
    batch_rows : rows of every decode step, or None to choose
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

        windows : [R], ascending; rows of one window have the same context
        """


@dataclass
class Runner:
    """A decoder and a tokenizer; remembers the batch size that memory allowed.

    bars_decoder, encoder : None takes the tokenizer's own modules
    memory_budget : bytes for weights, caches and activations; None takes
        :func:`kronos.decoding.batching.default_budget`
    row_limit : set when memory failed; later calls stay below it
    """

    decoder: Decoder
    tokenizer: KronosTokenizer
    max_context: int
    bars_decoder: BarsDecoder | None = None
    encoder: Callable[[Tensor], Tokens] | None = None
    memory_budget: int | None = None
    row_limit: int | None = None
    device: torch.device = field(init=False)

    def __post_init__(self) -> None:
        self.device = self.decoder.device

    @torch.inference_mode()
    def run(self, request: Request) -> tuple[np.ndarray, int]:
        """Bars [W · paths, steps, 6], and the rows of a decode step they were computed with.

        An allocation that fails halves the batch and the call goes on, unless ``batch_rows`` fixes
        the shape: then MemoryError.
        """
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
        if request.batch_rows is not None:
            return fixed_shape(self.decoder, request.batch_rows)
        windows, length = request.x.shape[:2]
        budget = self.memory_budget or default_budget(self.device)
        return fitting_shape(
            self.decoder,
            windows * request.paths,
            windows,
            length + request.steps,
            budget=budget,
            limit=self.row_limit,
        )

    def _run(self, request: Request, shape: BatchShape) -> np.ndarray:
        s1, s2 = self._encode(torch.from_numpy(request.x).to(self.device), request, shape)
        stamp = torch.from_numpy(request.stamp).to(self.device)
        rows = torch.arange(len(s1) * request.paths, device=self.device)
        uniforms = None if request.uniforms is None else torch.from_numpy(request.uniforms)
        # Every batch takes its part of the same draws.
        state = self._random_state() if uniforms is None else None
        bars = []
        for chunk, kept in row_chunks(rows, shape.decode_rows):
            noise: Noise
            if uniforms is None:
                self._set_random_state(state)
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
            torch.stack(encode_windows(self.tokenizer, part))[:, :kept]
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
        if not request.cache:
            s1, s2 = tokens
            return generate_tokens(
                self.decoder.model,
                (s1[windows], s2[windows]),
                stamp[windows],
                steps=request.steps,
                max_context=self.max_context,
                sampling=request.sampling,
                noise=noise,
                dependency_rope=self.decoder.dependency_rope,
                on_step=request.on_step,
            )
        return generate_cached(
            self.decoder,
            tokens,
            stamp,
            windows=windows,
            steps=request.steps,
            max_context=self.max_context,
            sampling=request.sampling,
            noise=noise,
            prefill_rows=shape.prefill_rows,
            on_step=request.on_step,
        )

    def _decode(
        self, request: Request, tokens: Tokens, windows: Tensor, shape: BatchShape
    ) -> Tensor:
        """Normalised bars [R, steps, 6] of the generated part of ``tokens`` [R, L + steps]."""
        steps, numbers = request.steps, torch.arange(len(windows), device=self.device)
        if self.bars_decoder is None or not request.cache:
            return torch.cat(
                [
                    decode_tokens(
                        self.tokenizer,
                        (tokens[0][part], tokens[1][part]),
                        steps=steps,
                        max_context=self.max_context,
                    )[:kept]
                    for part, kept in row_chunks(numbers, shape.token_rows)
                ]
            )
        s1, s2 = (ids[:, -self.max_context :] for ids in tokens)
        return self.bars_decoder.bars(s1, s2, windows, steps)

    def _random_state(self) -> Tensor:
        if self.device.type == "cuda":
            return torch.cuda.get_rng_state(self.device)
        return torch.mps.get_rng_state() if self.device.type == "mps" else torch.get_rng_state()

    def _set_random_state(self, state: Tensor | None) -> None:
        assert state is not None
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state, self.device)
        elif self.device.type == "mps":
            torch.mps.set_rng_state(state)
        else:
            torch.set_rng_state(state)

    def _to_device(self, noise: Tensor) -> Tensor:
        # MPS has no float64.
        return (noise.float() if self.device.type == "mps" else noise).to(self.device)

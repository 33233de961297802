"""From logits to token ids.

Two sources of randomness:

- torch's global generator, drawn in the order of published implementations, so that a seeded
  call gives their tokens;
- uniforms that belong to (seed, path, step), so that a window's sample depends neither on its
  batch companions nor on the number of paths or steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "GlobalNoise",
    "Noise",
    "Sampling",
    "SeededNoise",
    "choose",
    "filter_logits",
    "path_uniforms",
    "top_p_by_value",
]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes
    ----------
    T
        Temperature ≥ 0; 0 is greedy.
    top_k
        Keep the k most likely tokens and every tie with the k-th; 0 keeps all.
    top_p
        Keep the most likely tokens up to and including the one that brings their probability above
        this; in (0, 1]. Ignored when top_k > 0, as published implementations do.
    """

    T: float = 1.0
    top_k: int = 0
    top_p: float = 0.9

    def __post_init__(self) -> None:
        if not (np.isfinite(self.T) and self.T >= 0):
            raise ValueError(f"T is {self.T}; a temperature must be a finite number ≥ 0")
        if self.top_k < 0 or int(self.top_k) != self.top_k:
            raise ValueError(f"top_k is {self.top_k}; it must be a whole number ≥ 0 (0 keeps all)")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; it must lie in (0, 1] (1 keeps all)")


def filter_logits(logits: Tensor, *, top_k: int, top_p: float) -> Tensor:
    """``logits`` [B, V] with the tokens that may not be drawn at -inf."""
    if top_k > 0:
        kth = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[:, -1:]
        return logits.masked_fill(logits < kth, -torch.inf)
    if top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        above = ordered.softmax(dim=-1).cumsum(dim=-1) > top_p
        # Shifted by one: the first token above the threshold stays.
        above = torch.cat((torch.zeros_like(above[:, :1]), above[:, :-1]), dim=-1)
        return logits.masked_fill(torch.zeros_like(above).scatter(1, order, above), -torch.inf)
    return logits


def top_p_by_value(logits: Tensor, top_p: float) -> Tensor:
    """What ``filter_logits(logits, top_k=0, top_p=top_p)`` gives, from the sorted values alone.

    Where several tokens tie with the last one kept, which of them stay depends on the order that a
    full sort happens to give; then that is done.
    """
    if top_p >= 1:
        return logits
    if logits.device.type == "cpu":
        # NumPy sorts float32 with vector instructions, several times faster than torch.
        ordered = torch.from_numpy(np.sort(-logits.numpy(), axis=-1)).neg_()
    else:
        ordered = logits.sort(dim=-1, descending=True).values
    above = ordered.softmax(dim=-1).cumsum(dim=-1) > top_p
    kept = (~above[:, :-1]).sum(dim=-1, keepdim=True) + 1
    dropped = logits < ordered.gather(1, kept - 1)
    if bool(((~dropped).sum(dim=-1, keepdim=True) != kept).any()):
        return filter_logits(logits, top_k=0, top_p=top_p)
    return logits.masked_fill(dropped, -torch.inf)


class Noise(Protocol):
    """Where the randomness of a batch of rows comes from."""

    seeded: bool

    def draw(self, probabilities: Tensor, step: int, part: int) -> Tensor:
        """Token ids [R] for ``probabilities`` [R, V]; part 0 is s1, 1 is s2."""


class SeededNoise:
    """Uniforms [R, steps, 2] of :func:`path_uniforms`, used by the inverse distribution."""

    seeded = True

    def __init__(self, uniforms: Tensor) -> None:
        self.uniforms = uniforms

    def draw(self, probabilities: Tensor, step: int, part: int) -> Tensor:
        return inverse_cdf(probabilities, self.uniforms[:, step, part])


class GlobalNoise:
    """Torch's generator as ``torch.multinomial`` over all rows at once would use it.

    A batch may hold only some of the rows: then the draws of all of them are made and the batch
    takes its own, so that how rows are split into batches changes no token. Each batch starts from
    the same state of the generator.

    ``total`` rows are those of the whole call, ``rows`` [R] those of this batch.
    """

    seeded = False

    def __init__(self, total: int, rows: Tensor) -> None:
        self.total, self.rows = total, rows
        self.whole = len(rows) == total and bool((rows.cpu() == torch.arange(total)).all())

    def draw(self, probabilities: Tensor, step: int, part: int) -> Tensor:
        if self.whole:
            return torch.multinomial(probabilities, 1).squeeze(-1)
        # torch.multinomial of one sample is this race (exponential clocks).
        size = (self.total, probabilities.shape[-1])
        clocks = torch.empty(size, dtype=probabilities.dtype, device=probabilities.device)
        return (probabilities / clocks.exponential_(1)[self.rows]).argmax(dim=-1)


def choose(
    logits: Tensor, sampling: Sampling, noise: Noise, step: int, part: int, *, by_value: bool
) -> Tensor:
    """One token id [R] a row of ``logits`` [R, V]; ``by_value`` takes the cheaper top-p."""
    logits = logits.float()
    if sampling.T == 0 or (sampling.top_k == 1 and noise.seeded):
        return logits.argmax(dim=-1)
    logits = logits / sampling.T
    if by_value and sampling.top_k == 0:
        kept = top_p_by_value(logits, sampling.top_p)
    else:
        kept = filter_logits(logits, top_k=sampling.top_k, top_p=sampling.top_p)
    return noise.draw(kept.softmax(dim=-1), step, part)


def inverse_cdf(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """The first token whose cumulative probability exceeds the row's uniform."""
    wide = torch.float32 if probabilities.device.type == "mps" else torch.float64
    cdf = probabilities.to(wide).cumsum(dim=-1)
    total = cdf[:, -1:]
    # Strictly below the total, so that the token found has a positive probability.
    target = torch.minimum(
        uniforms.to(wide).unsqueeze(-1) * total, torch.nextafter(total, torch.zeros_like(total))
    )
    return torch.searchsorted(cdf, target, right=True).squeeze(-1)


def path_uniforms(seeds: Sequence[int], paths: int, steps: int) -> np.ndarray:
    """Uniforms in [0, 1): float64 [len(seeds), paths, steps, 2], the last axis for s1 and s2.

    Philox keyed by (seed, path), two draws a step (Salmon et al., 2011): entry (i, p, t) depends
    on seeds[i], p and t alone. Raises ValueError for a seed outside [0, 2^64).
    """
    noise = np.empty((len(seeds), paths, steps, 2))
    for i, seed in enumerate(seeds):
        if not 0 <= int(seed) < 2**64:
            raise ValueError(f"seeds[{i}] is {seed}; a seed must lie in [0, 2^64)")
        for path in range(paths):
            key = np.array([int(seed), path], dtype=np.uint64)
            stream = np.random.Generator(np.random.Philox(key=key))
            noise[i, path] = stream.random((steps, 2))
    return noise

"""Autoregressive generation over token ids.

1. encode the normalised context once (:func:`encode_windows`);
2. run it through the model once, keeping keys and values (:func:`prefill`), shared by all paths
   of a window;
3. a step at a time, draw s1, then s2 given s1, and run the model on the new token alone
   (:func:`generate_tokens`); without a cache, on the last ``max_context`` tokens again;
4. decode the last ``max_context`` tokens once and keep the generated part
   (:func:`decode_tokens`).

:func:`generate_bars` does all four. W counts windows, R rows: windows · paths, the paths of a
window side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.cache import KVCache
from kronos.sampling import Sampling, sample
from kronos.tokenizer import KronosTokenizer
from kronos.transformer import Kronos

__all__ = [
    "Generation",
    "decode_tokens",
    "encode_windows",
    "generate_bars",
    "generate_tokens",
    "prefill",
]

Tokens = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Generation:
    """What to generate.

    steps : bars a path
    max_context : tokens seen at most; older ones are dropped and positions restart at 0
    sampling : how a token is chosen
    paths : a window
    batch_rows : rows of every forward, short batches filled with copies; None runs all at once
    dependency_rope : whether the dependency layer rotates by true positions, as in training
    cache : keep keys and values where that is exact; False runs over the whole context each step
    """

    steps: int
    max_context: int
    sampling: Sampling
    paths: int = 1
    batch_rows: int | None = None
    dependency_rope: bool = False
    cache: bool = True

    def caches(self, length: int) -> bool:
        """Whether a context of ``length`` keeps its positions to the last step."""
        return self.cache and length + self.steps - 1 <= self.max_context


@dataclass(frozen=True, eq=False)
class Prefilled:
    """The cache of a context, and the hidden state [R, 1, D] of its last position."""

    cache: KVCache
    hidden: Tensor

    def select(self, rows: Tensor) -> Self:
        return type(self)(self.cache.select(rows), self.hidden[rows])


def generate_bars(
    model: Kronos,
    tokenizer: KronosTokenizer,
    x: Tensor,
    stamp: Tensor,
    generation: Generation,
    *,
    uniforms: Tensor | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Tensor:
    """Normalised bars [R, steps, 6] that follow the windows ``x`` [W, L, 6].

    Parameters
    ----------
    x : normalised and clipped
    stamp : [W, L + steps, 5], calendar features of the context and of the forecast bars
    uniforms : [R, steps, 2], see :func:`kronos.sampling.path_uniforms`; None draws from torch's
        global generator
    on_step : called with the number of steps done, in each chunk of ``batch_rows`` rows
    """
    size, length = generation.batch_rows, x.shape[1]
    bars = []
    for windows, count in chunks(torch.arange(len(x), device=x.device), size):
        s1, s2 = encode_windows(tokenizer, x[windows])
        ready = None
        if generation.caches(length):
            past = stamp[windows, :length]
            ready = prefill(
                model, (s1, s2), past, generation.steps, rotate=generation.dependency_rope
            )
        members = torch.arange(count, device=x.device).repeat_interleave(generation.paths)
        first = int(windows[0]) * generation.paths
        for rows, kept in chunks(torch.arange(len(members), device=x.device), size):
            own = members[rows]
            noise = None if uniforms is None else uniforms[first + rows]
            # A single path uses its prefilled cache up; more of them need copies.
            alone = generation.paths == 1 and len(own) == len(windows)
            tokens = generate_tokens(
                model,
                (s1[own], s2[own]),
                stamp[windows[own]],
                generation,
                uniforms=noise,
                prefilled=ready if alone or ready is None else ready.select(own),
                on_step=on_step,
            )
            bars.append(decode_tokens(tokenizer, tokens, generation)[:kept])
    return torch.cat(bars)


def encode_windows(tokenizer: KronosTokenizer, x: Tensor) -> Tokens:
    """(s1, s2), each [R, L], of normalised, clipped windows ``x`` [R, L, 6]."""
    s1, s2 = tokenizer.encode(x, half=True)
    return s1, s2


def prefill(
    model: Kronos, tokens: Tokens, stamp: Tensor, steps: int, *, rotate: bool = False
) -> Prefilled:
    """Run a context through the model, with room for ``steps`` further tokens less the last."""
    rows, length = tokens[0].shape
    cache = model.new_cache(rows, length + steps - 1, rotate=rotate)
    hidden = model.hidden_states(*tokens, stamp, cache=cache)
    return Prefilled(cache, hidden[:, -1:])


def generate_tokens(
    model: Kronos,
    tokens: Tokens,
    stamp: Tensor,
    generation: Generation,
    *,
    uniforms: Tensor | None = None,
    prefilled: Prefilled | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Tokens:
    """Append ``generation.steps`` tokens to the context.

    Parameters
    ----------
    tokens : (s1, s2) of the context, each [R, L]
    stamp : [R, L + steps, 5]
    uniforms : [R, steps, 2], or None
    prefilled : of the same context; it is used up. None runs over the whole context each step.

    Returns (s1, s2), each [R, L + steps].
    """
    length, steps = tokens[0].shape[1], generation.steps
    s1, s2 = (F.pad(ids, (0, steps)) for ids in tokens)
    cache = prefilled.cache if prefilled is not None else None
    for step in range(steps):
        end = length + step
        if prefilled is not None and step == 0:
            hidden = prefilled.hidden
        else:
            first = end - 1 if cache is not None else max(0, end - generation.max_context)
            seen = slice(first, end)
            hidden = model.hidden_states(s1[:, seen], s2[:, seen], stamp[:, seen], cache=cache)
        noise = (None, None) if uniforms is None else uniforms[:, step].unbind(dim=-1)
        s1[:, end] = sample(model.next_s1_logits(hidden), generation.sampling, noise[0])
        s2_logits = model.next_s2_logits(
            hidden, s1[:, end], rotate=generation.dependency_rope, cache=cache
        )
        s2[:, end] = sample(s2_logits, generation.sampling, noise[1])
        if on_step is not None:
            on_step(step + 1)
    return s1, s2


def decode_tokens(tokenizer: KronosTokenizer, tokens: Tokens, generation: Generation) -> Tensor:
    """Normalised bars [R, steps, 6] of the last ``steps`` tokens, decoded within their context."""
    s1, s2 = (ids[:, -generation.max_context :] for ids in tokens)
    return tokenizer.decode((s1, s2), half=True)[:, -generation.steps :]


def chunks(rows: Tensor, size: int | None) -> Iterator[tuple[Tensor, int]]:
    """(indices, how many count): all at once, or ``size`` a chunk, filled up with copies."""
    for part in rows.split(size) if size is not None else [rows]:
        filler = part[:1].expand((size or len(part)) - len(part))
        yield torch.cat((part, filler)), len(part)

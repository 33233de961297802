"""Autoregressive generation over token ids.

1. encode the normalised context once (:func:`encode_windows`);
2. a step at a time, run the model over the last ``max_context`` tokens and draw s1, then s2
   given s1 (:func:`generate_tokens`);
3. decode the last ``max_context`` tokens once and keep the generated part
   (:func:`decode_tokens`).

R is the number of rows: windows · paths, the paths of a window side by side.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kronos.sampling import Sampling, sample
from kronos.tokenizer import KronosTokenizer
from kronos.transformer import Kronos

__all__ = ["decode_tokens", "encode_windows", "generate_tokens"]

Tokens = tuple[Tensor, Tensor]


def encode_windows(tokenizer: KronosTokenizer, x: Tensor) -> Tokens:
    """(s1, s2), each [R, L], of normalised, clipped windows ``x`` [R, L, 6]."""
    s1, s2 = tokenizer.encode(x, half=True)
    return s1, s2


def generate_tokens(
    model: Kronos,
    tokens: Tokens,
    stamp: Tensor,
    *,
    steps: int,
    max_context: int,
    sampling: Sampling,
    uniforms: Tensor | None = None,
    dependency_rope: bool = False,
    on_step: Callable[[int], None] | None = None,
) -> Tokens:
    """Append ``steps`` tokens to the context.

    Parameters
    ----------
    tokens : (s1, s2) of the context, each [R, L]
    stamp : [R, L + steps, 5], calendar features of the context and of the forecast bars
    max_context : tokens seen at most; older ones are dropped and positions restart at 0
    uniforms : [R, steps, 2], see :func:`kronos.sampling.path_uniforms`; None draws from torch's
        global generator
    dependency_rope : whether the dependency layer rotates by true positions, as in training

    Returns (s1, s2), each [R, L + steps].
    """
    length = tokens[0].shape[1]
    s1, s2 = (torch.nn.functional.pad(ids, (0, steps)) for ids in tokens)
    for step in range(steps):
        end = length + step
        seen = slice(max(0, end - max_context), end)
        hidden = model.hidden_states(s1[:, seen], s2[:, seen], stamp[:, seen])
        noise = (None, None) if uniforms is None else uniforms[:, step].unbind(dim=-1)
        s1[:, end] = sample(model.next_s1_logits(hidden), sampling, noise[0])
        s2_logits = model.next_s2_logits(hidden, s1[:, end], rotate=dependency_rope)
        s2[:, end] = sample(s2_logits, sampling, noise[1])
        if on_step is not None:
            on_step(step + 1)
    return s1, s2


def decode_tokens(
    tokenizer: KronosTokenizer, tokens: Tokens, *, steps: int, max_context: int
) -> Tensor:
    """Normalised bars [R, steps, 6] of the last ``steps`` tokens, decoded within their context."""
    s1, s2 = (ids[:, -max_context:] for ids in tokens)
    return tokenizer.decode((s1, s2), half=True)[:, -steps:]

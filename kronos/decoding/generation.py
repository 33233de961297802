"""Autoregressive generation over token ids.

1. encode the normalised context once;
2. prefill the context of each window once and share it among the window's paths, then a step at a
   time run the newest position against the cache and draw s1, then s2 given s1
   (:func:`generate_cached`). Beyond ``max_context`` every step sees the last ``max_context`` tokens
   from position 0 again, so no key stays valid, and each step is a prefill;
3. decode the last ``max_context`` tokens once and keep the generated part
   (:func:`decode_tokens`).

:func:`generate_tokens` runs the whole model at every step: slow, and the oracle of the rest.

W is the number of windows, R the number of rows: windows · paths, the paths of a window side by
side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kronos.decoding.cache import DECODED_TOGETHER, CacheSlice, KVCache, up_to
from kronos.decoding.decoder import Decoder
from kronos.decoding.sampling import Noise, Sampling, choose
from kronos.tokenizer import KronosTokenizer
from kronos.transformer import Kronos

__all__ = ["Memory", "Tokens", "decode_tokens", "generate_cached", "generate_tokens", "run_blocks"]

Tokens = tuple[Tensor, Tensor]
# Keys and values [R, H, L, E] of each block.
Memory = list[tuple[Tensor, Tensor]]


def generate_cached(
    decoder: Decoder,
    tokens: Tokens,
    stamp: Tensor,
    *,
    windows: Tensor,
    steps: int,
    max_context: int,
    sampling: Sampling,
    noise: Noise,
    prefill_rows: int,
    on_step: Callable[[int], None] | None = None,
) -> Tokens:
    """Append ``steps`` tokens to the context.

    Parameters
    ----------
    tokens : (s1, s2), each [W, L]
        The contexts.
    stamp : [W, L + steps, 5]
        Calendar features of the context and of the forecast bars.
    windows : [R]
        Ascending: which window each row continues.
    max_context
        Tokens seen at most; older ones are dropped and positions restart at 0.
    prefill_rows
        Rows of a prefill; a short one is filled up with copies where the decoder has fixed shapes.

    Returns
    -------
    (s1, s2) : each [R, L + steps]
    """
    length, rows = tokens[0].shape[1], len(windows)
    cache = decoder.new_cache(rows, min(length + steps - 1, max_context))
    s1, s2 = (functional.pad(ids[windows], (0, steps)) for ids in tokens)
    row_stamp = stamp[windows]
    for step in range(steps):
        end = length + step
        seen = slice(max(0, end - max_context), end)
        if step == 0:
            hidden = prefill_windows(
                decoder, tokens, stamp, seen, windows, cache, prefill_rows=prefill_rows
            )
        elif end > max_context:
            each = torch.arange(rows, device=windows.device)
            hidden = prefill_windows(
                decoder, (s1, s2), row_stamp, seen, each, cache, prefill_rows=prefill_rows
            )
        else:
            newest = end - 1
            hidden = decoder.step(s1[:, newest], s2[:, newest], row_stamp[:, newest], cache, newest)
        s1[:, end] = choose(
            decoder.s1_logits(hidden), sampling, noise, step, 0, by_value=decoder.by_value
        )
        s2_logits = decoder.s2_logits(hidden, s1[:, end], cache, seen.stop - seen.start)
        s2[:, end] = choose(s2_logits, sampling, noise, step, 1, by_value=decoder.by_value)
        if on_step is not None:
            on_step(step + 1)
    return s1, s2


def prefill_windows(
    decoder: Decoder,
    tokens: Tokens,
    stamp: Tensor,
    seen: slice,
    windows: Tensor,
    cache: KVCache,
    *,
    prefill_rows: int,
) -> Tensor:
    """Fill the cache with the ``seen`` part of each row's window; hidden [R, D] of its last token.

    A window is run once, however many rows continue it.
    """
    hidden: list[Tensor] = []
    first, last = int(windows[0]), int(windows[-1])
    shared = len(windows) != last - first + 1
    for start in range(first, last + 1, prefill_rows):
        members = torch.arange(start, start + prefill_rows, device=windows.device)
        # Short prefills are filled with copies of the last window: one shape for every forward.
        members = members.clamp(max=last) if decoder.fixed_shapes else members[members <= last]
        stop = min(start + prefill_rows, last + 1)
        row_start, row_stop = (
            torch.searchsorted(windows, torch.tensor([start, stop], device=windows.device)).tolist()
            if shared
            else (start - first, stop - first)
        )
        index = windows[row_start:row_stop] - start if shared else None
        target = CacheSlice(cache, row_start, row_stop, index)
        done = decoder.prefill(
            tokens[0][members, seen], tokens[1][members, seen], stamp[members, seen], target
        )
        hidden.append(done[: stop - start] if index is None else done[index])
    return torch.cat(hidden)


def generate_tokens(
    model: Kronos,
    tokens: Tokens,
    stamp: Tensor,
    *,
    steps: int,
    max_context: int,
    sampling: Sampling,
    noise: Noise,
    dependency_rope: bool = False,
    on_step: Callable[[int], None] | None = None,
) -> Tokens:
    """Append ``steps`` tokens to the context, running the whole model at each.

    Parameters
    ----------
    tokens : (s1, s2), each [R, L]
        The contexts.
    stamp : [R, L + steps, 5]
        Calendar features of the context and of the forecast bars.
    max_context
        Tokens seen at most; older ones are dropped and positions restart at 0.
    dependency_rope
        Whether the dependency layer rotates by true positions, as in training.

    Returns
    -------
    (s1, s2) : each [R, L + steps]
    """
    length = tokens[0].shape[1]
    s1, s2 = (functional.pad(ids, (0, steps)) for ids in tokens)
    for step in range(steps):
        end = length + step
        seen = slice(max(0, end - max_context), end)
        hidden = model.hidden_states(s1[:, seen], s2[:, seen], stamp[:, seen])
        logits = model.next_s1_logits(hidden)
        s1[:, end] = choose(logits, sampling, noise, step, 0, by_value=False)
        logits = model.next_s2_logits(hidden, s1[:, end], rotate=dependency_rope)
        s2[:, end] = choose(logits, sampling, noise, step, 1, by_value=False)
        if on_step is not None:
            on_step(step + 1)
    return s1, s2


def decode_tokens(tokenizer: KronosTokenizer, tokens: Tokens, *, steps: int) -> Tensor:
    """Normalised bars [R, steps, 6] of the last ``steps`` tokens, decoded within their context.

    The context runs first, then ``DECODED_TOGETHER`` positions at a time: no forward has a shape
    that depends on ``steps``, so a bar has the same bits however many follow it.
    """
    before = tokens[0].shape[1] - steps
    padding = up_to(steps, DECODED_TOGETHER) - steps
    codes = tokenizer.tokenizer.corners(*(functional.pad(ids, (0, padding)) for ids in tokens))
    x = tokenizer.post_quant_embed(codes.type_as(tokenizer.head.weight))
    memory: Memory = []
    if before:
        run_blocks(tokenizer.decoder, x[:, :before], memory, 0)
    bars = []
    for start in range(before, x.shape[1], DECODED_TOGETHER):
        part = x[:, start : start + DECODED_TOGETHER]
        bars.append(tokenizer.head(run_blocks(tokenizer.decoder, part, memory, start)))
    return torch.cat(bars, dim=1)[:, :steps]


def run_blocks(blocks: Iterable[Any], x: Tensor, memory: Memory, start: int) -> Tensor:
    """The output [R, L, D] of ``blocks`` over positions ``x`` [R, L, D] from ``start`` on.

    ``memory`` holds keys and values of each block for the positions before, and gets those of
    ``x`` too.
    """
    seen = start + x.shape[1]
    mask = torch.ones(x.shape[1], seen, dtype=torch.bool, device=x.device).tril(start)
    for number, block in enumerate(blocks):
        query, key, value = block.project(x, start)
        if number < len(memory):
            keys, values = memory[number]
            memory[number] = torch.cat((keys, key), dim=2), torch.cat((values, value), dim=2)
        else:
            memory.append((key, value))
        mixed = functional.scaled_dot_product_attention(query, *memory[number], attn_mask=mask)
        x = block.finish(x, mixed)
    return x

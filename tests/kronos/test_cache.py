"""The cached path against the oracle that runs over the whole context at each step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kronos import Kronos
from kronos.generation import Generation, Tokens, generate_tokens, prefill
from kronos.sampling import Sampling, filter_logits, path_uniforms

BITS = 5
# Float32 rounding between the two orders of summation.
ROUNDING = 1e-5


def random_model(heads: int, layers: int, seed: int, *, learn_te: bool = True) -> Kronos:
    torch.manual_seed(seed)
    model = Kronos(BITS, BITS, layers, 8 * heads, heads, 48, 0.0, 0.0, 0.0, 0.0, learn_te)
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


def random_context(rows: int, length: int, steps: int) -> tuple[Tokens, Tensor]:
    s1, s2 = torch.randint(0, 2**BITS, (2, rows, length))
    stamp = torch.randint(0, 7, (rows, length + steps, 5))
    return (s1, s2), stamp


def distance_to_boundary(logits: Tensor, sampling: Sampling, uniform: Tensor) -> float:
    """How far a draw, or the filter before it, is from choosing otherwise."""
    if sampling.T == 0:
        first, second = logits.topk(2).values
        return float((first - second) / logits.abs().max())
    scaled = logits / sampling.T
    kept = filter_logits(scaled[None], top_k=sampling.top_k, top_p=sampling.top_p)[0]
    gaps = [(kept.softmax(-1).double().cumsum(-1) - uniform).abs().min()]
    ordered = scaled.sort(descending=True).values
    if sampling.top_k > 0:
        gaps.append((scaled - ordered[sampling.top_k - 1]).abs().topk(2, largest=False).values[1])
    elif sampling.top_p < 1:
        gaps.append((ordered.softmax(-1).cumsum(-1) - sampling.top_p).abs().min())
    return min(float(gap) for gap in gaps)


def assert_same_tokens(
    model: Kronos, cached: Tokens, oracle: Tokens, stamp: Tensor, g: Generation, noise: Tensor
) -> None:
    """Equal, but for paths whose first differing draw sat within rounding of a boundary."""
    rows, total = oracle[0].shape
    for row in range(rows):
        differs = (cached[0][row] != oracle[0][row]) | (cached[1][row] != oracle[1][row])
        if not differs.any():
            continue
        end = int(differs.nonzero()[0])
        step = end - (total - g.steps)
        one = slice(row, row + 1)
        past = slice(max(0, end - g.max_context), end)
        hidden = model.hidden_states(oracle[0][one, past], oracle[1][one, past], stamp[one, past])
        if cached[0][row, end] != oracle[0][row, end]:
            logits, uniform = model.next_s1_logits(hidden)[0], noise[row, step, 0]
        else:
            s1 = oracle[0][one, end]
            logits = model.next_s2_logits(hidden, s1, rotate=g.dependency_rope)[0]
            uniform = noise[row, step, 1]
        assert distance_to_boundary(logits, g.sampling, uniform) < ROUNDING


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    heads=st.sampled_from([2, 4, 8]),
    layers=st.integers(1, 3),
    length=st.integers(1, 30),
    steps=st.integers(1, 12),
    windows=st.integers(1, 4),
    paths=st.integers(1, 3),
    sampling=st.sampled_from(
        [Sampling(0.0), Sampling(1.0, 0, 1.0), Sampling(0.8, 0, 0.9), Sampling(1.3, 4, 1.0)]
    ),
    rotate=st.booleans(),
    seed=st.integers(0, 10_000),
)
@torch.inference_mode()
def test_cache_gives_the_tokens_of_the_oracle(
    heads: int,
    layers: int,
    length: int,
    steps: int,
    windows: int,
    paths: int,
    sampling: Sampling,
    rotate: bool,
    seed: int,
) -> None:
    model = random_model(heads, layers, seed)
    tokens, stamp = random_context(windows, length, steps)
    g = Generation(steps, length + steps - 1, sampling, paths, dependency_rope=rotate)
    assert g.caches(length)
    uniforms = torch.from_numpy(path_uniforms(range(windows), paths, steps)).flatten(0, 1)
    own = torch.arange(windows).repeat_interleave(paths)
    expanded, stamps = (tokens[0][own], tokens[1][own]), stamp[own]
    oracle = generate_tokens(model, expanded, stamps, g, uniforms=uniforms)
    ready = prefill(model, tokens, stamp[:, :length], steps, rotate=rotate).select(own)
    cached = generate_tokens(model, expanded, stamps, g, uniforms=uniforms, prefilled=ready)
    assert_same_tokens(model, cached, oracle, stamps, g, uniforms)


@torch.inference_mode()
def test_step_logits_are_within_rounding() -> None:
    model = random_model(4, 3, seed=1)
    (s1, s2), stamp = random_context(6, 40, 0)
    for rotate in (False, True):
        ready = prefill(model, (s1[:, :25], s2[:, :25]), stamp[:, :25], 16, rotate=rotate)
        for end in range(25, 40):
            now = slice(end, end + 1)
            last = model.hidden_states(s1[:, now], s2[:, now], stamp[:, now], cache=ready.cache)
            seen = slice(0, end + 1)
            hidden = model.hidden_states(s1[:, seen], s2[:, seen], stamp[:, seen])
            for got, want in (
                (model.next_s1_logits(last), model.next_s1_logits(hidden)),
                (
                    model.next_s2_logits(last, s1[:, end], cache=ready.cache),
                    model.next_s2_logits(hidden, s1[:, end], rotate=rotate),
                ),
            ):
                torch.testing.assert_close(got, want, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(
    ("length", "steps", "max_context", "cached"),
    [(20, 5, 24, True), (20, 5, 23, False), (24, 1, 24, True), (25, 1, 24, False)],
)
def test_the_cache_is_used_only_where_it_is_exact(
    length: int, steps: int, max_context: int, cached: bool
) -> None:
    assert Generation(steps, max_context, Sampling()).caches(length) is cached
    assert not Generation(steps, max_context, Sampling(), cache=False).caches(length)

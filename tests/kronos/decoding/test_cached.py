"""Cached decoding in both profiles against the plain recompute path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from kronos_golden import Golden, relative_error
from kronos_oracle import BOUNDARY, Draw, boundary_distance, first_difference

from kronos import Kronos
from kronos.decoding.cache import CacheSlice
from kronos.decoding.decoder import Decoder
from kronos.decoding.generation import decode_tokens, generate_cached, generate_tokens
from kronos.decoding.sampling import GlobalNoise, Sampling, SeededNoise, path_uniforms
from kronos.fast.kernels import KERNELS, fast_bars_decoder, fast_decoder, fault

usable = [kernel for kernel in KERNELS if fault(kernel) is None]
DECODERS = ["exact", *usable]
SAMPLINGS = {
    "greedy": Sampling(T=0.0),
    "top_p": Sampling(T=1.0, top_p=0.9),
    "top_k": Sampling(T=0.8, top_k=5),
    "all": Sampling(T=1.3, top_p=1.0),
}


def decoder_of(model: Kronos, kind: str, max_context: int, **kw: Any) -> Decoder:
    if kind == "exact":
        return Decoder(model, **kw)
    return fast_decoder(model, kernel=kind, max_context=max_context, **kw)


def random_model(rng: np.random.Generator) -> Kronos:
    heads, width = int(rng.choice([1, 2, 4])), int(rng.choice([16, 32]))
    d_model = heads * width
    torch.manual_seed(int(rng.integers(1 << 30)))
    bits, layers = [int(n) for n in rng.integers(3, 6, 2)], int(rng.integers(1, 4))
    learned = bool(rng.integers(2))
    return Kronos(*bits, layers, d_model, heads, 2 * d_model, 0, 0, 0, 0, learned).eval()


def random_stamp(rng: np.random.Generator, windows: int, length: int) -> torch.Tensor:
    columns = [rng.integers(0, size, (windows, length)) for size in (60, 24, 7, 32, 13)]
    return torch.from_numpy(np.stack(columns, axis=-1))


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("reach", ["within", "to the last position", "beyond", "from beyond"])
@torch.inference_mode()
def test_tokens_equal_those_of_the_plain_path(kind: str, sampling: str, reach: str) -> None:
    rng = np.random.default_rng([DECODERS.index(kind), list(SAMPLINGS).index(sampling), len(reach)])
    model, choice = random_model(rng), SAMPLINGS[sampling]
    windows, paths = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    length, steps = int(rng.integers(5, 30)), int(rng.integers(3, 9))
    max_context = length + steps + {"within": 5, "to the last position": -1, "beyond": -3,
                                    "from beyond": -steps - 3}[reach]  # fmt: skip
    steps = min(steps, max_context)
    stamp = random_stamp(rng, windows, length + steps)
    tokens = tuple(
        torch.from_numpy(rng.integers(0, 2**bits, (windows, length)))
        for bits in (model.s1_bits, model.s2_bits)
    )
    uniforms = torch.from_numpy(path_uniforms(range(windows), paths, steps)).flatten(0, 1)
    rows = torch.arange(windows).repeat_interleave(paths)
    order = torch.from_numpy(rng.permutation(windows))  # the batch of the cached run is shuffled
    got = generate_cached(
        decoder_of(model, kind, max_context),
        (tokens[0][order], tokens[1][order]),
        stamp[order],
        windows=rows,
        steps=steps,
        max_context=max_context,
        sampling=choice,
        noise=SeededNoise(uniforms.unflatten(0, (windows, paths))[order].flatten(0, 1)),
        prefill_rows=int(rng.integers(1, 5)),
    )
    back = torch.argsort(order)
    got = tuple(ids.unflatten(0, (windows, paths))[back].flatten(0, 1) for ids in got)
    want = generate_tokens(
        model,
        (tokens[0][rows], tokens[1][rows]),
        stamp[rows],
        steps=steps,
        max_context=max_context,
        sampling=choice,
        noise=SeededNoise(uniforms),
    )
    for row in range(len(rows)):
        draw = first_difference(got, want, row, length)
        if draw is not None:
            distance = boundary_distance(
                model, want, stamp[rows], row, length, draw, max_context, choice, uniforms
            )
            assert distance < BOUNDARY, (row, draw, distance)


@torch.inference_mode()
def test_the_boundary_proof_refuses_a_wrong_token() -> None:
    rng = np.random.default_rng(0)
    model, stamp = random_model(rng), random_stamp(rng, 1, 9)
    ids = torch.zeros(1, 9, dtype=torch.long)
    distance = boundary_distance(
        model, (ids, ids), stamp, 0, 8, Draw(0, 0), 9, Sampling(T=0.0), None
    )
    assert distance > BOUNDARY


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("rope", [False, True])
@torch.inference_mode()
def test_logits_of_prefill_and_steps(golden: Golden, kind: str, rope: bool) -> None:
    """Teacher-forced: every position's logits, whether it came by prefill or by a step."""
    model, s1, s2 = golden.model(), golden.tensor("s1"), golden.tensor("s2")
    stamp, rows = golden.stamp("x_stamp"), torch.arange(len(s1))
    length = s1.shape[1]
    decoder = decoder_of(model, kind, length, dependency_rope=rope)
    for start in (1, 20):
        cache = decoder.new_cache(len(rows), length)
        hidden = decoder.prefill(
            s1[:, :start], s2[:, :start], stamp[:, :start], CacheSlice(cache, 0, len(rows))
        )
        for end in range(start, length):
            if end > start:
                last = end - 1
                hidden = decoder.step(s1[:, last], s2[:, last], stamp[:, last], cache, last)
            plain = model.hidden_states(s1[:, :end], s2[:, :end], stamp[:, :end])
            following = s1[:, end]
            for got, want in (
                (decoder.s1_logits(hidden), model.next_s1_logits(plain)),
                (
                    decoder.s2_logits(hidden, following, cache, end),
                    model.next_s2_logits(plain, following, rotate=rope),
                ),
            ):
                # Logits reach ±17 here: the plain path itself is 9e-6 from float64 arithmetic.
                assert relative_error(got, want) < 2e-6


@pytest.mark.parametrize("kernel", usable)
@torch.inference_mode()
def test_bars_of_tokens(golden: Golden, kernel: str) -> None:
    tokenizer, s1, s2 = golden.tokenizer(), golden.tensor("s1"), golden.tensor("s2")
    for steps in (1, 13, 40):
        want = decode_tokens(tokenizer, (s1, s2), steps=steps)
        fast = fast_bars_decoder(tokenizer, kernel=kernel, max_context=40)
        assert relative_error(fast.bars(s1, s2, torch.arange(4), steps), want) < 1e-5


@pytest.mark.parametrize("kernel", usable)
@torch.inference_mode()
def test_bars_of_paths_that_share_a_context(golden: Golden, kernel: str) -> None:
    tokenizer, rng = golden.tokenizer(), torch.Generator().manual_seed(0)
    windows = torch.tensor([0] * 20 + [1] * 17 + [3])
    s1, s2 = golden.tensor("s1")[windows], golden.tensor("s2")[windows]
    for ids in (s1, s2):
        ids[:, -9:] = torch.randint(0, 8, (len(windows), 9), generator=rng)
    want = decode_tokens(tokenizer, (s1, s2), steps=9)
    fast = fast_bars_decoder(tokenizer, kernel=kernel, max_context=40)
    assert relative_error(fast.bars(s1, s2, windows, 9), want) < 1e-5


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(T=0.7, top_k=3)])
@torch.inference_mode()
def test_batches_draw_their_part_of_the_global_stream(sampling: Sampling) -> None:
    """Rows split in batches give the tokens of one torch.multinomial over all rows."""
    probabilities = torch.rand(7, 33).softmax(-1)
    torch.manual_seed(3)
    want = [torch.multinomial(probabilities, 1)[:, 0] for _ in range(4)]
    for rows in ([0, 1, 2], [3, 4, 5, 6], [6, 6, 6], list(range(7))):
        torch.manual_seed(3)
        noise = GlobalNoise(7, torch.tensor(rows))
        for step, whole in enumerate(want):
            assert torch.equal(noise.draw(probabilities[rows], step, 0), whole[rows])

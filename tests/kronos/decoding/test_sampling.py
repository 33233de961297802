from __future__ import annotations

import numpy as np
import pytest
import torch

from kronos.decoding.sampling import (
    GlobalNoise,
    Sampling,
    SeededNoise,
    choose,
    filter_logits,
    path_uniforms,
)

LOGITS = torch.tensor([[3.0, 2.0, 2.0, 1.0, -1.0]])


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"),
    [
        (0, 1.0, [0, 1, 2, 3, 4]),
        (1, 1.0, [0]),
        (2, 1.0, [0, 1, 2]),  # a tie at the k-th value stays
        (9, 1.0, [0, 1, 2, 3, 4]),
        (2, 0.1, [0, 1, 2]),  # top_k > 0: top_p is ignored
        (0, 0.01, [0]),
        (0, 0.55, [0, 1]),  # the token that crosses the threshold stays
    ],
)
def test_filters(top_k: int, top_p: float, kept: list[int]) -> None:
    filtered = filter_logits(LOGITS, top_k=top_k, top_p=top_p)
    assert torch.isfinite(filtered[0]).nonzero().flatten().tolist() == kept


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"T": -0.1}, "T is -0.1"),
        ({"T": float("nan")}, "T is nan"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.2}, "top_p is 1.2"),
        ({"top_k": -1}, "top_k is -1"),
    ],
)
def test_settings_outside_their_range(setting: dict[str, float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Sampling(**setting)  # type: ignore[arg-type]


def sample(
    logits: torch.Tensor, sampling: Sampling, uniforms: torch.Tensor | None = None
) -> torch.Tensor:
    rows = len(logits)
    noise = (
        GlobalNoise(rows, torch.arange(rows))
        if uniforms is None
        else SeededNoise(uniforms[:, None, None])
    )
    return choose(logits, sampling, noise, 0, 0, by_value=False)


def test_greedy_takes_no_noise() -> None:
    state = torch.get_rng_state()
    assert sample(LOGITS, Sampling(T=0)).item() == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert sample(LOGITS, Sampling(top_k=1), torch.tensor([0.999])).item() == 0


def test_uniforms_invert_the_distribution() -> None:
    probabilities = LOGITS.double().softmax(-1)[0]
    edges = probabilities.cumsum(-1)
    for token in range(5):
        low = 0.0 if token == 0 else float(edges[token - 1])
        for u in (low + 1e-6, float(edges[token]) - 1e-6):
            got = sample(LOGITS, Sampling(top_p=1.0), torch.tensor([u]).double())
            assert got.item() == token


def test_a_token_of_no_probability_is_never_drawn() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]])
    for u in (0.0, 0.5, 1 - 2**-53):
        uniform = torch.tensor([u], dtype=torch.float64)
        assert sample(logits, Sampling(top_p=1.0), uniform).item() == 1


def test_seeded_noise_draws_the_distribution() -> None:
    n = 20_000
    uniforms = torch.from_numpy(path_uniforms([5], 1, n)[0, 0, :, 0])
    drawn = sample(LOGITS.expand(n, -1), Sampling(top_p=1.0), uniforms)
    share = torch.bincount(drawn, minlength=5) / n
    np.testing.assert_allclose(share, LOGITS.softmax(-1)[0], atol=0.015)


def test_noise_belongs_to_seed_path_and_step() -> None:
    full = path_uniforms([3, 9], paths=4, steps=7)
    assert full.shape == (2, 4, 7, 2)
    assert np.array_equal(path_uniforms([9, 3], 2, 5), full[::-1, :2, :5])
    assert len(np.unique(full)) == full.size
    assert path_uniforms([2**64 - 1], 1, 1).shape == (1, 1, 1, 2)
    with pytest.raises(ValueError, match=r"seeds\[1\] is -1"):
        path_uniforms([0, -1], 1, 1)

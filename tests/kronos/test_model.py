"""What holds of the modules beyond the golden vectors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from kronos_golden import Golden

from kronos import Kronos, time_features
from kronos.layers import Attention
from kronos.quantizer import bits_to_index, index_to_bits


def test_first_bit_is_least_significant() -> None:
    bits = torch.tensor([[True, False, False], [False, False, True], [True, True, True]])
    assert bits_to_index(bits).tolist() == [1, 4, 7]
    assert torch.equal(index_to_bits(torch.tensor([1, 4, 7]), 3), bits)


@torch.inference_mode()
def test_tokenizer_is_causal(golden: Golden) -> None:
    tokenizer, x = golden.tokenizer(), golden.tensor("x")
    changed = x.clone()
    changed[:, 25:] = torch.randn_like(changed[:, 25:])
    assert torch.equal(tokenizer.encode(x)[:, :25], tokenizer.encode(changed)[:, :25])


@pytest.mark.parametrize(("training", "causal"), [(False, True), (True, None)])
@torch.inference_mode()
def test_causal_forward_sees_no_later_token(
    golden: Golden, training: bool, causal: bool | None
) -> None:
    model = golden.model().train(training)
    s1, s2, stamp = golden.tensor("s1"), golden.tensor("s2"), golden.stamp("x_stamp")

    def logits(cut: int | None) -> list[torch.Tensor]:
        inputs = [a[:, :-1].clone() for a in (s1, s2)]
        targets = s1[:, 1:].clone()
        if cut is not None:
            for ids in (*inputs, targets):
                ids[:, cut:] = 0
        return list(model(*inputs, stamp[:, :-1], None, True, targets, causal=causal))

    for before, after in zip(logits(None), logits(20), strict=True):
        torch.testing.assert_close(before[:, :20], after[:, :20])


@torch.inference_mode()
def test_causal_forward_agrees_with_step_decoding(golden: Golden) -> None:
    """The causal loss prices exactly what decoding computes, position by position."""
    model = golden.model()
    s1, s2, stamp = golden.tensor("s1"), golden.tensor("s2"), golden.stamp("x_stamp")
    _, unrotated = model(
        s1[:, :-1], s2[:, :-1], stamp[:, :-1], None, True, s1[:, 1:], causal=True, rotate=False
    )
    _, rotated = model(s1[:, :-1], s2[:, :-1], stamp[:, :-1], None, True, s1[:, 1:], causal=True)
    for end in (1, 7, 39):
        hidden = model.hidden_states(s1[:, :end], s2[:, :end], stamp[:, :end])
        for logits, rotate in ((unrotated, False), (rotated, True)):
            step = model.next_s2_logits(hidden, s1[:, end], rotate=rotate)
            torch.testing.assert_close(step, logits[:, end - 1], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_padded_positions_change_nothing_before_them(golden: Golden) -> None:
    model = golden.model()
    s1, s2, stamp = golden.tensor("s1"), golden.tensor("s2"), golden.stamp("x_stamp")
    padding = torch.zeros(s1.shape, dtype=torch.bool)
    padding[:, 30:] = True
    short, _ = model.decode_s1(s1[:, :30], s2[:, :30], stamp[:, :30])
    padded, _ = model.decode_s1(s1, s2, stamp, padding)
    torch.testing.assert_close(padded[:, :30], short, rtol=1e-4, atol=1e-4)


def test_sampled_sibling_needs_no_targets(learned: Golden) -> None:
    model = learned.model().train()
    s1, s2 = learned.tensor("s1"), learned.tensor("s2")
    _, s2_logits = model(s1, s2, learned.stamp("x_stamp"))
    assert s2_logits.shape == (*s1.shape, 32)
    with pytest.raises(ValueError, match="needs s1_targets"):
        model(s1, s2, use_teacher_forcing=True)


def test_every_parameter_of_a_new_model_gets_a_gradient() -> None:
    torch.manual_seed(0)
    model = Kronos(4, 4, 2, 16, 2, 32, 0.1, 0.1, 0.1, 0.1, True).train()
    ids = torch.randint(0, 16, (2, 9))
    stamp = torch.zeros(2, 8, 5, dtype=torch.long)
    logits = model(ids[:, :-1], ids[:, :-1], stamp, None, True, ids[:, 1:])
    model.head.compute_loss(*logits, ids[:, 1:], ids[:, 1:]).mean.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="must split into 3 heads"):
        Attention(16, 3)


@pytest.mark.parametrize("kind", ["series", "index", "array", "strings"])
def test_time_features(kind: str) -> None:
    index = pd.DatetimeIndex(["2024-02-29 13:45", "2024-03-04 00:00"])
    given = {
        "series": pd.Series(index),
        "index": index,
        "array": index.to_numpy(),
        "strings": [str(t) for t in index],
    }[kind]
    assert time_features(given).tolist() == [[45, 13, 3, 29, 2], [0, 0, 0, 4, 3]]


def test_time_features_keep_the_shape_and_refuse_gaps() -> None:
    days = np.datetime64("2024-01-01", "ns") + np.arange(6).reshape(2, 3) * np.timedelta64(1, "D")
    assert time_features(days).shape == (2, 3, 5)
    with pytest.raises(ValueError, match="NaT"):
        time_features(np.array(["2024-01-01", "NaT"], dtype="datetime64[D]"))

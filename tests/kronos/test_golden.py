"""Parity with the published implementation, on vectors it computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from kronos_golden import Golden, relative_error

from kronos import KronosPredictor
from kronos.decoding.runner import Request
from kronos.decoding.sampling import Sampling
from kronos.fast.kernels import KERNELS, fault

TOLERANCE = 1e-5
CASES = ("greedy", "top_p", "top_k", "plain", "samples", "sliding_greedy", "sliding_sampled")
PATHS = ("plain", "exact", *(kernel for kernel in KERNELS if fault(kernel) is None))


def test_state_dicts_have_the_published_names_and_shapes(golden: Golden) -> None:
    for part, module in (("tokenizer", golden.tokenizer()), ("model", golden.model())):
        shapes = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
        assert shapes == golden.facts["state_dict"][part]


@torch.inference_mode()
def test_tokenizer(golden: Golden) -> None:
    tokenizer, x = golden.tokenizer(), golden.tensor("x")
    s1, s2 = tokenizer.encode(x, half=True)
    joint = tokenizer.encode(x)
    assert torch.equal(s1, golden.tensor("s1"))
    assert torch.equal(s2, golden.tensor("s2"))
    assert torch.equal(joint, golden.tensor("joint"))
    for decoded in (tokenizer.decode((s1, s2), half=True), tokenizer.decode(joint)):
        assert relative_error(decoded, golden.tensors["decoded"]) < TOLERANCE
    (coarse, full), loss, codes, index = tokenizer(x)
    assert relative_error(coarse, golden.tensors["forward_pre"]) < TOLERANCE
    assert relative_error(full, golden.tensors["forward_full"]) < TOLERANCE
    assert relative_error(codes, golden.tensors["quantized"]) < TOLERANCE
    assert float(loss) == pytest.approx(float(golden.tensors["bsq_loss"]), rel=TOLERANCE)
    assert torch.equal(index, joint)


@pytest.mark.parametrize("mode", ["eval", "train"])
@torch.inference_mode()
def test_teacher_forced_logits_and_losses(golden: Golden, mode: str) -> None:
    model = golden.model().train(mode == "train")
    s1, s2 = golden.tensor("s1"), golden.tensor("s2")
    s1_logits, s2_logits = model(
        s1[:, :-1],
        s2[:, :-1],
        golden.stamp("x_stamp")[:, :-1],
        use_teacher_forcing=True,
        s1_targets=s1[:, 1:],
    )
    assert relative_error(s1_logits, golden.tensors[f"tf_{mode}_s1"]) < TOLERANCE
    assert relative_error(s2_logits, golden.tensors[f"tf_{mode}_s2"]) < TOLERANCE
    losses = model.head.compute_loss(s1_logits, s2_logits, s1[:, 1:], s2[:, 1:])
    assert relative_error(losses, golden.tensors[f"loss_{mode}"]) < TOLERANCE


@torch.inference_mode()
def test_step_decoding(golden: Golden) -> None:
    model = golden.model()
    s1_logits, hidden = model.decode_s1(
        golden.tensor("s1"), golden.tensor("s2"), golden.stamp("x_stamp")
    )
    assert relative_error(s1_logits[:, -1], golden.tensors["decode_s1_last"]) < TOLERANCE
    assert torch.equal(model.next_s1_logits(hidden), s1_logits[:, -1])
    s1 = s1_logits[:, -1].argmax(dim=-1)
    want = golden.tensors["decode_s2_last"]
    assert relative_error(model.decode_s2(hidden, s1[:, None])[:, -1], want) < TOLERANCE
    assert relative_error(model.next_s2_logits(hidden, s1), want) < TOLERANCE


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("path", PATHS)
def test_generation(golden: Golden, case: str, path: str) -> None:
    facts = golden.facts["cases"][case]
    steps, paths = facts["pred_len"], facts["sample_count"]
    stamp = torch.cat((golden.stamp("x_stamp"), golden.stamp("y_stamp")[:, :steps]), dim=1)
    predictor = golden_predictor(golden, path, max_context=facts["max_context"])
    torch.manual_seed(facts["torch_seed"])
    bars, _ = predictor.runner.run(
        Request(
            golden.tensors["x"],
            stamp.numpy(),
            steps,
            paths,
            Sampling(facts["T"], facts["top_k"], facts["top_p"]),
            cache=path != "plain",
        )
    )
    mean = bars.reshape(-1, paths, steps, 6).mean(axis=1)
    assert relative_error(mean, golden.tensors[f"gen_{case}"]) < TOLERANCE


def golden_predictor(golden: Golden, path: str, **settings: Any) -> KronosPredictor:
    settings |= {} if path in ("plain", "exact") else {"profile": "fast", "kernel": path}
    return KronosPredictor(golden.model(), golden.tokenizer(), device="cpu", **settings)


@pytest.mark.parametrize("file", ["predict", "predict_no_volume", "predict_batch"])
@pytest.mark.parametrize("path", PATHS[1:])
def test_predictor(golden: Golden, file: str, path: str) -> None:
    facts = dict(golden.facts["predict_batch" if file == "predict_batch" else "predict"])
    context, seed, steps = facts.pop("context"), facts.pop("torch_seed"), facts["pred_len"]
    columns = ["open", "high", "low", "close"] + ["volume"] * (file != "predict_no_volume")
    bars = [golden.bars(i) for i in range(4 if file == "predict_batch" else 1)]
    frames = [b[columns][:context] for b in bars]
    past = [b.timestamps[:context] for b in bars]
    future = [b.timestamps[context : context + steps] for b in bars]
    predictor = golden_predictor(golden, path)
    torch.manual_seed(seed)
    if file == "predict_batch":
        results = predictor.predict_batch(frames, past, future, **facts)
    else:
        results = [predictor.predict(frames[0], past[0], future[0], **facts)]
    want = pd.read_csv(golden.folder / f"{file}.csv", parse_dates=["timestamps"])
    got = pd.concat(results)
    assert list(got.index) == list(want.timestamps)
    rtol = TOLERANCE if path == "exact" else 1e-4
    # Without volume that column is noise around 0, 1e-5 wide: of that, a millionth may differ.
    np.testing.assert_allclose(got, want[list(got.columns)], rtol=rtol, atol=1e-11)

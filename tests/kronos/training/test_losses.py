"""The losses of both stages and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kronos_golden import Golden, relative_error
from torch import nn

from kronos.quantizer import BinarySphericalQuantizer
from kronos.training.evaluate import fit_tables
from kronos.training.objectives import next_token_losses, share_codebook, tokenizer_loss


def test_model_losses_are_the_published_ones(golden: Golden) -> None:
    """loss_train: the dependency layer causal, as in training mode."""
    model, s1, s2 = golden.model(), golden.tensor("s1"), golden.tensor("s2")
    losses = next_token_losses(model, s1, s2, golden.stamp("x_stamp"), weights=torch.ones(39))
    assert relative_error([v.item() for v in losses], golden.tensors["loss_train"]) < 1e-5


def test_the_loss_of_published_eval_mode_is_reproduced(golden: Golden) -> None:
    """loss_eval: not causal in the dependency layer, so no loss to judge a model by."""
    model, s1, s2 = golden.model(), golden.tensor("s1"), golden.tensor("s2")
    logits = model(
        s1[:, :-1],
        s2[:, :-1],
        golden.stamp("x_stamp")[:, :-1],
        use_teacher_forcing=True,
        s1_targets=s1[:, 1:],
    )
    losses = model.head.compute_loss(*logits, s1[:, 1:], s2[:, 1:])
    assert relative_error([v.item() for v in losses], golden.tensors["loss_eval"]) < 1e-5
    assert relative_error(golden.tensors["loss_train"], golden.tensors["loss_eval"]) > 1e-5


def test_tokenizer_loss_is_the_published_one(golden: Golden) -> None:
    x, full, coarse = (golden.tensors[k] for k in ("x", "forward_full", "forward_pre"))
    want = ((full - x) ** 2).mean() + ((coarse - x) ** 2).mean() + golden.tensors["bsq_loss"]
    loss, codes = tokenizer_loss(golden.tokenizer(), golden.tensor("x"))
    assert loss.item() == pytest.approx(float(want) / 2, rel=1e-5)
    assert torch.equal(codes, golden.tensor("joint"))


def slope(function, tensors: list[torch.Tensor], directions: list[torch.Tensor], eps: float):
    """Central difference of ``function`` along ``directions``, fourth order."""
    values = []
    with torch.no_grad():
        for factor in (2, 1, -1, -2):
            for tensor, direction in zip(tensors, directions, strict=True):
                tensor.add_(direction, alpha=factor * eps)
            values.append(float(function()))
            for tensor, direction in zip(tensors, directions, strict=True):
                tensor.sub_(direction, alpha=factor * eps)
    return (-values[0] + 8 * values[1] - 8 * values[2] + values[3]) / (12 * eps)


def check_gradient(function, module: nn.Module, eps: float = 1e-3) -> None:
    """The gradient along a random direction in every parameter is the slope of the loss."""
    tensors = [p for p in module.parameters() if p.requires_grad]
    generator = torch.Generator().manual_seed(0)
    directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in tensors]
    scale = sum(d.square().sum() for d in directions) ** 0.5
    directions = [d / scale for d in directions]
    gradients = torch.autograd.grad(function(), tensors, allow_unused=True)
    along = sum(
        float((g * d).sum()) for g, d in zip(gradients, directions, strict=True) if g is not None
    )
    assert along == pytest.approx(slope(function, tensors, directions, eps), rel=1e-5, abs=1e-9)


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """RMSNorm computes in float32, too coarse for differences: let it stay in float64."""
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)


@pytest.mark.usefixtures("doubles")
def test_model_gradient_is_the_slope_of_the_published_loss(golden: Golden) -> None:
    model = golden.model().double()
    s1, s2, stamp = golden.tensor("s1"), golden.tensor("s2"), golden.stamp("x_stamp")

    def loss() -> torch.Tensor:
        return next_token_losses(
            model, s1, s2, stamp, weights=torch.ones(39, dtype=torch.float64)
        ).mean

    check_gradient(loss, model)


@pytest.mark.usefixtures("doubles")
def test_decoder_gradient_is_the_slope_of_the_published_loss(golden: Golden) -> None:
    """Everything after the codes; before them the gradient is passed straight through."""
    tokenizer = golden.tokenizer().double()
    x = golden.tensor("x").double()
    for name in ("embed", "encoder", "quant_embed"):
        getattr(tokenizer, name).requires_grad_(False)
    check_gradient(lambda: tokenizer_loss(tokenizer, x)[0], tokenizer)


def test_quantizer_gradient_is_the_slope_of_its_loss(learned: Golden) -> None:
    config = learned.tokenizer().tokenizer.bsq
    bsq = BinarySphericalQuantizer(
        10, config.beta, config.gamma0, config.gamma, config.zeta, config.group_size
    )
    torch.manual_seed(1)
    z = nn.functional.normalize(torch.randn(3, 7, 10, dtype=torch.float64), dim=-1)
    holder = nn.ParameterList([nn.Parameter(z)])
    assert (z.abs() > 1e-4).all()  # no sign changes along the way
    check_gradient(lambda: bsq(holder[0])[1], holder, eps=1e-5)
    corner = bsq.quantize(holder[0])
    (straight,) = torch.autograd.grad((corner * torch.arange(10)).sum(), [holder[0]])
    assert torch.equal(straight, torch.arange(10.0, dtype=torch.float64).expand(3, 7, 10))


def test_weights_choose_the_bars_of_the_loss(golden: Golden) -> None:
    model, s1, s2 = golden.model(), golden.tensor("s1"), golden.tensor("s2")
    stamp = golden.stamp("x_stamp")
    only = torch.zeros(39)
    only[20] = 3.0
    got = next_token_losses(model, s1, s2, stamp, weights=only).s1
    logits, _ = model.decode_s1(s1[:, :21], s2[:, :21], stamp[:, :21])
    want = nn.functional.cross_entropy(logits[:, -1], s1[:, 21])
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_s2_may_be_conditioned_on_a_sampled_s1(learned: Golden) -> None:
    model, s1, s2 = learned.model(), learned.tensor("s1"), learned.tensor("s2")
    stamp, weights = learned.stamp("x_stamp"), torch.ones(39)
    noise = torch.from_numpy(np.random.default_rng(0).random((4, 39)))
    forced = next_token_losses(model, s1, s2, stamp, weights=weights)
    sampled = next_token_losses(model, s1, s2, stamp, weights=weights, sibling_noise=noise)
    assert torch.equal(forced.s1, sampled.s1)
    assert not torch.equal(forced.s2, sampled.s2)
    # The noise belongs to the row: half a batch samples what the whole one samples there.
    half = next_token_losses(
        model, s1[2:], s2[2:], stamp[2:], weights=weights, sibling_noise=noise[2:]
    )
    rest = next_token_losses(
        model, s1[:2], s2[:2], stamp[:2], weights=weights, sibling_noise=noise[:2]
    )
    torch.testing.assert_close((half.s2 + rest.s2) / 2, sampled.s2, rtol=1e-5, atol=1e-5)
    sampled.mean.backward()
    assert torch.isfinite(model.embedding.emb_s1.weight.grad).all()


def test_workers_price_the_codebook_together(learned: Golden) -> None:
    """Two halves of a batch: the mean of their gradients is the gradient of the whole."""
    x = learned.tensor("x")
    whole = learned.tokenizer().train()
    tokenizer_loss(whole, x)[0].backward()
    want = {name: p.grad for name, p in whole.named_parameters()}
    alone = learned.tokenizer().train()
    halves = [learned.tokenizer().train() for _ in range(2)]
    means = [soft_codes(half, part) for half, part in zip(halves, x.split(2), strict=True)]
    for half, part in zip(halves, x.split(2), strict=True):
        share_codebook(half, lambda own: sum(means) / 2)
        half.train()
        tokenizer_loss(half, part)[0].backward()
    for part in x.split(2):
        (tokenizer_loss(alone, part)[0] / 2).backward()
    got = {
        name: (a.grad + b.grad) / 2
        for (name, a), (_, b) in zip(*(h.named_parameters() for h in halves), strict=True)
    }
    name = "quant_embed.weight"
    torch.testing.assert_close(got[name], want[name], rtol=1e-4, atol=1e-7)
    assert relative_error(dict(alone.named_parameters())[name].grad, want[name]) > 1e-4
    assert halves[0].state_dict().keys() == whole.state_dict().keys()


@torch.no_grad()
def soft_codes(tokenizer, x: torch.Tensor) -> torch.Tensor:
    """[bits, 2], the mean soft code of the windows."""
    seen = []
    bsq = tokenizer.tokenizer.bsq
    handle = bsq.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    tokenizer(x)
    handle.remove()
    positive = torch.sigmoid(4 * seen[0] / bsq.bits**0.5).flatten(0, -2).mean(dim=0)
    return torch.stack((positive, 1 - positive), dim=-1)


def test_token_tables_count() -> None:
    s1 = torch.tensor([[0, 1, 0, 1, 0, 1]] * 500)
    s2 = 1 - s1
    tables = fit_tables(s1, s2, 1, 1)
    keep = torch.ones(5, dtype=torch.bool)
    losses = tables.losses(s1, s2, keep)
    assert losses["s1_unigram"] == pytest.approx(np.log(2), abs=1e-3)
    assert losses["s1_bigram"] < 0.01
    assert losses["s2_bigram"] < 0.01
    for table in (tables.s1, tables.next_s1[0], tables.s2_given_s1[1]):
        assert float(table.exp().sum()) == pytest.approx(1)

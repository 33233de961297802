"""Steps of a stage: they learn, repeat, and go on where they stopped."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from kronos_training import daily

from kronos import Kronos, KronosTokenizer
from kronos.training import (
    ModelObjective,
    Recipe,
    Span,
    Stage,
    TokenizerObjective,
    TrainingBars,
    WindowRules,
    Windows,
    WindowSampler,
    evaluate_model,
    evaluate_tokenizer,
    training_tables,
    validation_batches,
)
from kronos.training.stage import one_cycle

TOKENIZER = {
    **dict.fromkeys(("ffn_dropout_p", "attn_dropout_p", "resid_dropout_p"), 0.0),
    "d_in": 6, "d_model": 16, "n_heads": 2, "ff_dim": 32, "n_enc_layers": 2, "n_dec_layers": 2,
    "s1_bits": 4, "s2_bits": 4, "beta": 0.05, "gamma0": 1.0, "gamma": 1.1, "zeta": 0.05, "group_size": 4,
}  # fmt: skip
MODEL = {
    "s1_bits": 4, "s2_bits": 4, "n_layers": 1, "d_model": 16, "n_heads": 2, "ff_dim": 32, "ffn_dropout_p": 0.2,
    "attn_dropout_p": 0.1, "resid_dropout_p": 0.2, "token_dropout_p": 0.1, "learn_te": True,
}  # fmt: skip
RECIPE = Recipe(60, 16, 1e-2, 2.0, epoch_windows=100, evaluate_every=30)
RULES = WindowRules(24, (8, 16))


@pytest.fixture(scope="module")
def bars() -> TrainingBars:
    return daily()


def windows(bars: TrainingBars) -> Windows:
    return Windows(bars, Span(bars.times[0], bars.moments[299]), length=24, clip=5.0)


def tokenizer_stage(
    bars: TrainingBars, recipe: Recipe = RECIPE, rank: int = 0, world: int = 1
) -> Stage:
    torch.manual_seed(0)
    objective = TokenizerObjective(KronosTokenizer(**TOKENIZER))
    return Stage("tokenizer", objective, recipe, draws(bars, recipe, rank, world), seed=0)


def model_stage(
    bars: TrainingBars, recipe: Recipe = RECIPE, conditioning="sampled", **shape
) -> Stage:
    torch.manual_seed(0)
    tokenizer = KronosTokenizer(**TOKENIZER)
    model = Kronos(**(MODEL | shape))
    objective = ModelObjective(
        model, tokenizer, conditioning=conditioning, context_weight=0.5, rotate=True
    )
    return Stage("model", objective, recipe, draws(bars, recipe), seed=0)


def draws(bars: TrainingBars, recipe: Recipe, rank: int = 0, world: int = 1) -> WindowSampler:
    return WindowSampler(
        windows(bars), batch=recipe.batch, epoch_windows=recipe.epoch_windows, context=RULES.context,
        seed=0, stream=1, rank=rank, world=world,
    )  # fmt: skip


def take(stage: Stage, steps: int) -> list[float]:
    return [stage.step()["loss"] for _ in range(steps)]


def weights(stage: Stage) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in stage.trained.parameters()])


@pytest.mark.parametrize("make", [tokenizer_stage, model_stage])
def test_a_stage_goes_on_where_it_stopped(bars: TrainingBars, make) -> None:
    """From a file, in another object: the same losses and weights to the bit, dropout and all."""
    unbroken = make(bars)
    losses = take(unbroken, 12)
    broken = make(bars)
    take(broken, 5)
    broken.look({"loss": 1.0, "mse": 0.5})
    file = io.BytesIO()
    torch.save(broken.state(), file)
    resumed = make(bars)
    take(resumed, 2)  # whatever it was before
    resumed.restore(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert resumed.steps == 5
    assert resumed.best.metrics == {"loss": 1.0, "mse": 0.5, "step": 5.0}
    assert take(resumed, 7) == losses[5:]
    assert torch.equal(weights(resumed), weights(unbroken))


def test_a_checkpoint_of_another_sampler_is_refused(bars: TrainingBars) -> None:
    state = tokenizer_stage(bars).state() | {"steps": 10}
    with pytest.raises(ValueError, match="batch or epoch_windows have changed"):
        tokenizer_stage(bars, replace(RECIPE, batch=32)).restore(state)


def test_accumulated_parts_are_one_batch(bars: TrainingBars) -> None:
    """Without dropout, four parts of a batch give the gradient of the whole."""
    still = dict.fromkeys((k for k in MODEL if k.endswith("dropout_p")), 0.0)
    whole = model_stage(bars, **still)
    parts = model_stage(bars, replace(RECIPE, accumulate=4), **still)
    np.testing.assert_allclose(take(whole, 3), take(parts, 3), rtol=1e-4)
    with pytest.raises(ValueError, match="16 windows a worker cannot be accumulated in 5"):
        model_stage(bars, replace(RECIPE, accumulate=5)).step()


@pytest.mark.parametrize("conditioning", ["teacher", "sampled"])
def test_both_stages_learn(bars: TrainingBars, conditioning) -> None:
    held = Windows(
        bars,
        Span(bars.moments[330], bars.moments[-1]),
        length=24,
        clip=5.0,
        after=bars.moments[299],
    )
    batches = validation_batches(held, RULES, 48)
    first = tokenizer_stage(bars)
    before = evaluate_tokenizer(first.trained.eval(), batches)
    take(first, 60)
    tokenizer = first.trained.eval()
    after = evaluate_tokenizer(tokenizer, batches)
    assert after["mse"] < 0.7 * before["mse"]
    assert 0 < after["s1_used"] <= 1
    assert 1 <= after["s1_perplexity"] <= 16
    columns = [after[f"mse_{c}"] for c in ("open", "high", "low", "close", "volume", "amount")]
    assert np.mean(columns) == pytest.approx(after["mse"], rel=1e-5)
    torch.manual_seed(0)
    objective = ModelObjective(
        Kronos(**MODEL), tokenizer, conditioning=conditioning, context_weight=0.25, rotate=False
    )
    second = Stage("model", objective, RECIPE, draws(bars, RECIPE), seed=0)
    frozen = {k: v.clone() for k, v in tokenizer.state_dict().items()}
    take(second, 60)
    tables = training_tables(tokenizer, windows(bars), RULES)
    found = evaluate_model(second.trained.eval(), tokenizer, batches, tables=tables, rotate=False)
    assert found["s1"] < found["s1_unigram"]
    assert found["loss"] == pytest.approx((found["s1"] + found["s2"]) / 2)
    assert all(torch.equal(frozen[k], v) for k, v in tokenizer.state_dict().items())


def test_evaluation_is_causal(bars: TrainingBars) -> None:
    """Noise in the last bar changes no loss on the bars before it."""
    stage = model_stage(bars)
    tokenizer = stage.objective.encode.tokenizer
    (batch,) = windows(bars).take(np.array([0, 30]), 16).split(8)
    changed = replace(batch, x=batch.x.clone())
    changed.x[:, -1] = torch.randn(2, 6)
    short = [replace(b, x=b.x[:, :-1], stamp=b.stamp[:, :-1]) for b in (batch, changed)]
    model = stage.trained.eval()
    whole = [evaluate_model(model, tokenizer, [b])["s2"] for b in (batch, changed)]
    parts = [evaluate_model(model, tokenizer, [b])["s2"] for b in short]
    assert parts[0] == parts[1]
    assert whole[0] != whole[1]


def test_the_best_weights_are_kept_and_patience_ends_a_stage(bars: TrainingBars) -> None:
    stage = tokenizer_stage(bars, replace(RECIPE, patience=2))
    assert stage.look({"loss": 3.0})
    take(stage, 2)
    assert stage.look({"loss": 1.0})
    best = weights(stage).clone()
    take(stage, 1)
    assert not stage.look({"loss": 2.0})
    assert not stage.finished
    take(stage, 1)
    assert not stage.look({"loss": 1.5})
    assert stage.finished
    stage.load_best()
    assert torch.equal(weights(stage), best)
    assert stage.best.metrics == {"loss": 1.0, "step": 2.0}


def test_the_rate_rises_and_falls_once(bars: TrainingBars) -> None:
    stage = tokenizer_stage(bars, replace(RECIPE, steps=50, pct_start=0.2))
    rates = [stage.step()["learning_rate"] for _ in range(50)]
    peak = int(np.argmax(rates))
    assert rates[0] == pytest.approx(1e-3)
    assert max(rates) == pytest.approx(1e-2, rel=1e-3)
    assert 8 <= peak <= 11
    assert (np.diff(rates[:peak]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
    assert rates[-1] < 1e-4
    assert stage.finished


@pytest.mark.parametrize("steps", [1, 2, 3, 34, 100])
def test_short_stages_have_a_schedule_too(steps: int) -> None:
    recipe = replace(RECIPE, steps=steps)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = one_cycle(optimiser, recipe)
    for _ in range(steps):
        assert 0 < schedule.get_last_lr()[0] <= recipe.learning_rate
        optimiser.step()
        schedule.step()


def test_bfloat16_autocast_learns_the_same_way(bars: TrainingBars) -> None:
    exact, rough = tokenizer_stage(bars), tokenizer_stage(bars)
    rough.autocast = "bfloat16"
    losses = take(exact, 5), take(rough, 5)
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.05)
    assert losses[0] != losses[1]

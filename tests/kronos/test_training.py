"""Training: what it sees, what it must not see, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from kronos_golden import Golden, random_bars, relative_error

from kronos import load_predictor
from kronos.folder import checkpoint_sha256
from kronos.training import StageSettings, TrainingBars, TrainingSettings, bars_from_frame, train
from kronos.training.__main__ import command, main
from kronos.training.baselines import fit_tables
from kronos.training.model_stage import next_token_losses
from kronos.training.schedule import one_cycle
from kronos.training.settings import MODEL, TOKENIZER
from kronos.training.tokenizer_stage import tokenizer_loss
from kronos.training.windows import WindowSampler, split_dates

UNTIL = date(2012, 6, 29)
SMALL = {"d_model": 16, "n_heads": 2, "ff_dim": 32, "s1_bits": 4, "s2_bits": 4}
SETTINGS = TrainingSettings(
    tokenizer=TOKENIZER | SMALL | {"n_enc_layers": 2, "n_dec_layers": 2},
    model=MODEL | SMALL | {"n_layers": 1},
    tokenizer_stage=StageSettings(60, 16, 1e-2, 2.0, evaluate_every=30),
    model_stage=StageSettings(60, 16, 1e-2, 3.0, evaluate_every=30),
    window=24,
    context=(8, 16),
    held_back=60,
    validation_windows=24,
)


def long_frame(tickers: int = 4, sessions: int = 400, seed: int = 0) -> pd.DataFrame:
    """Daily bars of business days from 2011-01-03, past ``UNTIL`` (session 390)."""
    days = pd.bdate_range("2011-01-03", periods=sessions)
    bars = random_bars(tickers, sessions, seed)
    columns = ["open", "high", "low", "close", "volume", "amount"]
    return pd.concat(
        [
            pd.DataFrame(window, columns=columns).assign(date=days.date, ticker=f"T{i}")
            for i, window in enumerate(bars)
        ],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def bars() -> TrainingBars:
    return bars_from_frame(long_frame(), UNTIL)


def test_losses_are_those_of_the_published_recipe(golden: Golden) -> None:
    """With the dependency layer in training mode, on the vectors of the golden checkpoint."""
    model, s1, s2 = golden.model(), golden.tensor("s1"), golden.tensor("s2")
    losses = next_token_losses(model, s1, s2, golden.stamp("x_stamp"), weights=torch.ones(39))
    assert relative_error([v.item() for v in losses], golden.tensors["loss_train"]) < 1e-5
    x, full, coarse = (golden.tensors[k] for k in ("x", "forward_full", "forward_pre"))
    want = ((full - x) ** 2).mean() + ((coarse - x) ** 2).mean() + golden.tensors["bsq_loss"]
    assert tokenizer_loss(golden.tokenizer(), golden.tensor("x")).item() == pytest.approx(
        float(want) / 2, rel=1e-5
    )


def test_weights_choose_the_bars_of_the_loss(golden: Golden) -> None:
    model, s1, s2 = golden.model(), golden.tensor("s1"), golden.tensor("s2")
    stamp = golden.stamp("x_stamp")
    only = torch.zeros(39)
    only[20] = 3.0
    got = next_token_losses(model, s1, s2, stamp, weights=only).s1
    logits, _ = model.decode_s1(s1[:, :21], s2[:, :21], stamp[:, :21])
    want = torch.nn.functional.cross_entropy(logits[:, -1], s1[:, 21])
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_s2_may_be_conditioned_on_a_sampled_s1(learned: Golden) -> None:
    model, s1, s2 = learned.model(), learned.tensor("s1"), learned.tensor("s2")
    stamp, weights = learned.stamp("x_stamp"), torch.ones(39)
    forced = next_token_losses(model, s1, s2, stamp, weights=weights)
    torch.manual_seed(0)
    sampled = next_token_losses(model, s1, s2, stamp, weights=weights, sampled_sibling=True)
    assert torch.equal(forced.s1, sampled.s1)
    assert not torch.equal(forced.s2, sampled.s2)
    sampled.mean.backward()
    assert torch.isfinite(model.embedding.emb_s1.weight.grad).all()


def test_quantizer_gradient_passes_straight_through(learned: Golden) -> None:
    tokenizer = learned.tokenizer()
    z = torch.randn(3, 5, 10, requires_grad=True)
    corner = tokenizer.tokenizer.bsq.quantize(z)
    (corner * torch.arange(10)).sum().backward()
    assert torch.equal(z.grad, torch.arange(10.0).expand(3, 5, 10))


def test_a_tiny_run_learns_and_repeats(bars: TrainingBars, tmp_path: Path) -> None:
    untrained = train(bars, replace(SETTINGS, tokenizer_stage=stage(0), model_stage=stage(0)))
    result = train(bars, SETTINGS)
    assert result.tokenizer_metrics["loss"] < 0.7 * untrained.tokenizer_metrics["loss"]
    assert result.model_metrics["s1"] < result.model_metrics["s1_unigram"]
    assert result.tokenizer_metrics["steps"] == 60
    again = train(bars, SETTINGS)
    for part in ("tokenizer", "model"):
        first, second = (getattr(r, part).state_dict() for r in (result, again))
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_time_budget_ends_the_run(bars: TrainingBars) -> None:
    result = train(bars, SETTINGS, minutes=0.01)
    assert result.model_metrics["steps"] >= 1
    assert result.minutes < 0.2


def stage(steps: int) -> StageSettings:
    return replace(SETTINGS.model_stage, steps=steps)


def test_bars_after_until_are_never_read(bars: TrainingBars) -> None:
    frame = long_frame()
    later = pd.to_datetime(frame["date"]) > pd.Timestamp(UNTIL)
    assert later.any()
    rng = np.random.default_rng(0)
    numbers = ["open", "high", "low", "close", "volume", "amount"]
    frame.loc[later, numbers] = rng.lognormal(3, 2, (int(later.sum()), 6))
    noisy = bars_from_frame(frame, UNTIL)
    cut = bars_from_frame(frame[~later], UNTIL)
    settings = replace(SETTINGS, tokenizer_stage=stage(3), model_stage=stage(3))
    want = train(bars, settings).model.state_dict()
    for other in (noisy, cut):
        assert other.sha256() == bars.sha256()
        got = train(other, settings).model.state_dict()
        assert all(torch.equal(got[name], want[name]) for name in want)


def test_statistics_come_from_the_context_only(bars: TrainingBars, learned: Golden) -> None:
    span = (date(2011, 1, 3), UNTIL)
    changed = replace(bars, values=bars.values.copy())
    sampler, other = (WindowSampler(b, span, length=24, clip=5.0) for b in (bars, changed))
    starts = np.array([0, 50, 500])
    for start in starts:
        changed.values[start + 16 : start + 24] *= 7.0
    before, after = sampler.take(starts, 16).x, other.take(starts, 16).x
    assert torch.equal(before[:, :16], after[:, :16])
    assert not torch.equal(before[:, 16:], after[:, 16:])
    tokenizer = learned.tokenizer()
    assert torch.equal(tokenizer.encode(before)[:, :16], tokenizer.encode(after)[:, :16])
    raw = bars.values[50:66]
    want = (raw - raw.mean(axis=0)) / (raw.std(axis=0) + 1e-5)
    np.testing.assert_allclose(before[1, :16], want.clip(-5, 5), atol=1e-4)


def test_no_bar_is_in_two_sets(bars: TrainingBars) -> None:
    split = split_dates(bars.sessions, held_back=60, gap=24)
    sets = []
    for span in (split.train, split.held_back):
        sampler = WindowSampler(bars, span, length=24, clip=5.0)
        rows = sampler.starts[:, None] + np.arange(24)
        assert (bars.ticker[rows] == bars.ticker[rows[:, :1]]).all()
        days = bars.dates[rows]
        assert days.min() == np.datetime64(span[0])
        assert days.max() == np.datetime64(span[1])
        sets.append(days)
    between = (bars.sessions > sets[0].max()) & (bars.sessions < sets[1].min())
    assert between.sum() == 24


@pytest.mark.parametrize(("held_back", "gap"), [(390, 0), (200, 200), (0, 10)])
def test_a_split_needs_sessions(bars: TrainingBars, held_back: int, gap: int) -> None:
    with pytest.raises(ValueError, match="held back after a gap"):
        split_dates(bars.sessions, held_back=held_back, gap=gap)


def test_windows_need_enough_bars(bars: TrainingBars) -> None:
    with pytest.raises(ValueError, match="no ticker has 24 bars"):
        WindowSampler(bars, (date(2011, 1, 3), date(2011, 1, 28)), length=24, clip=5.0)


def test_reading_bars() -> None:
    frame = pd.DataFrame(
        {
            "date": ["2020-01-03", "2020-01-02", "2020-01-02", "2020-01-03", "2020-01-06"],
            "ticker": ["B", "B", "A", "A", "A"],
            "open": [10.0, 10.0, 5.0, np.nan, 5.0],
            "high": [12.0, 12.0, 6.0, 6.0, 6.0],
            "low": [9.0, 9.0, 4.0, 4.0, 4.0],
            "close": [11.0, 13.0, 5.0, 5.0, 5.0],
            "volume": [2, 4, 1, 1, 1],
            "adj_factor": [1.0, 0.5, 1.0, 1.0, 1.0],
        }
    )
    bars = bars_from_frame(frame, date(2020, 1, 3))
    assert bars.tickers == ("A", "B")
    assert bars.dropped == 1
    assert bars.ticker.tolist() == [0, 1, 1]
    assert [str(d) for d in bars.dates] == ["2020-01-02", "2020-01-02", "2020-01-03"]
    assert bars.values[1].tolist() == [5.0, 6.0, 4.5, 6.5, 4.0, 4 * 11.0]
    assert bars.stamps[2].tolist() == [0, 0, 4, 3, 1]
    with pytest.raises(ValueError, match="column low is missing"):
        bars_from_frame(frame.drop(columns="low"), date(2020, 1, 3))
    with pytest.raises(ValueError, match="no usable bar at or before 2019-01-01"):
        bars_from_frame(frame, date(2019, 1, 1))


def test_one_cycle_is_the_usual_one() -> None:
    stage = SETTINGS.model_stage
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    steps = 200
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, stage.learning_rate, steps + 1, pct_start=6 / 200 + 1 / 200, div_factor=10
    )
    own = replace(stage, pct_start=(0.035 * 201 - 1) / steps)
    for step in range(steps + 1):
        want = optimiser.param_groups[0]["lr"]
        assert one_cycle(step / steps, own) == pytest.approx(want, rel=1e-6)
        optimiser.step()
        if step < steps:
            reference.step()


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


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"context": (8, 24)}, "must satisfy"),
        ({"context": (1, 8)}, "must satisfy"),
        ({"model": MODEL}, "s1_bits of the tokenizer and of the model"),
    ],
)
def test_settings_that_cannot_be(change: dict, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        replace(SETTINGS, **change)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "bars.csv", tmp_path / "out"
    long_frame(tickers=3).assign(date=lambda f: pd.bdate_range("2009-01-01", periods=len(f))).to_csv(file, index=False)  # fmt: skip
    arguments = ["--bars", str(file), "--until", "2011-12-30", "--out", str(out)]
    options = [
        "--tokenizer-steps",
        "2",
        "--model-steps",
        "2",
        "--tokenizer-batch",
        "2",
        "--threads",
        "1",
    ]
    assert main([*arguments, *options, "--held-back", "170", "--description", "Random bars"]) == 0
    assert "min left" in capsys.readouterr().err
    card = (out / "model" / "README.md").read_text()
    assert "trained_until: 2011-12-30" in card
    assert f'sha256: "{checkpoint_sha256(out / "model")}"' in card
    assert str(tmp_path) not in card
    assert "--bars FILE --until 2011-12-30 --out DIR --tokenizer-steps 2" in card
    assert load_predictor(out, device="cpu").max_context == 160
    for bad in (["--until", "1999-01-01"], ["--bars", str(tmp_path / "none.parquet")]):
        assert main([*arguments, *options, *bad]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1


def test_command_hides_paths() -> None:
    shown = command(["--bars", "/a/b.parquet", "--out", "/c", "--notes", "two words"])
    assert shown == "python -m kronos.training --bars FILE --out DIR --notes 'two words'"

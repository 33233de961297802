"""What training sees, and what it must not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from kronos_golden import Golden
from kronos_training import daily, five_minutes

from kronos.training import Span, TrainingBars, WindowRules, Windows, WindowSampler, training_bars
from kronos.training.evaluate import validation_batches

LENGTH = 24


def moment(text: str) -> np.datetime64:
    return np.datetime64(text, "us")


@pytest.fixture(scope="module")
def bars() -> TrainingBars:
    return daily()


def test_statistics_come_from_the_context_only(bars: TrainingBars, learned: Golden) -> None:
    span = Span(bars.times[0], bars.times[-1])
    changed = replace(bars, values=bars.values.copy(), factor=bars.factor.copy())
    windows, other = (Windows(b, span, length=LENGTH, clip=5.0) for b in (bars, changed))
    starts = np.array([0, 50, 500])
    for start in starts:
        changed.values[start + 16 : start + LENGTH] *= 7.0
        changed.factor[start + 16 : start + LENGTH] = 0.1
    before, after = windows.take(starts, 16).x, other.take(starts, 16).x
    assert torch.equal(before[:, :16], after[:, :16])
    assert not torch.equal(before[:, 16:], after[:, 16:])
    tokenizer = learned.tokenizer()
    assert torch.equal(tokenizer.encode(before)[:, :16], tokenizer.encode(after)[:, :16])
    raw = bars.values[50:66]
    want = (raw - raw.mean(axis=0)) / (raw.std(axis=0) + 1e-5)
    np.testing.assert_allclose(before[1, :16], want.clip(-5, 5), atol=1e-4)


def test_prices_are_adjusted_as_of_the_last_context_bar(bars: TrainingBars) -> None:
    """A split within the window vanishes; one after it changes nothing at all."""
    values, factor = bars.values.copy(), np.ones(len(bars))
    values[:110, :4] *= 2.0  # twice the price before a 2:1 split at row 110
    values[:110, 4] /= 2.0
    factor[:110] = 0.5
    split = replace(bars, values=values, factor=factor)
    later = replace(split, factor=factor * 0.25)
    span = Span(bars.times[0], bars.times[-1])
    plain, mended, scaled = (
        Windows(b, span, length=LENGTH, clip=5.0).take(np.array([100]), 16).x
        for b in (bars, split, later)
    )
    torch.testing.assert_close(mended, plain, rtol=1e-4, atol=1e-4)
    assert torch.equal(mended, scaled)


@pytest.mark.parametrize("make", [daily, five_minutes])
def test_no_bar_is_in_two_sets(make) -> None:
    bars = make()
    moments = bars.moments
    train = Span(moments[0], moments[99])
    held = Span(moments[99 + LENGTH + 1], moments[-1])
    first = Windows(bars, train, length=LENGTH, clip=5.0)
    second = Windows(bars, held, length=LENGTH, clip=5.0, after=train.last)
    seen = []
    for windows in (first, second):
        rows = windows.starts[:, None] + np.arange(LENGTH)
        assert (bars.ticker[rows] == bars.ticker[rows[:, :1]]).all()
        seen.append(bars.times[rows])
    assert seen[0].min() == train.first
    assert seen[0].max() == train.last
    assert seen[1].min() == moments[101]  # contexts reach back into the gap, no further
    for context in (8, 16):
        rows = second.predicting(context)[:, None] + np.arange(context, LENGTH)
        assert bars.times[rows].min() == held.first
        assert bars.times[rows].max() == held.last


def test_intraday_windows_know_the_time_of_day() -> None:
    bars = five_minutes()
    span = Span(bars.times[0], bars.times[-1])
    batch = Windows(bars, span, length=LENGTH, clip=5.0).take(np.array([0, 70]), 8)
    assert batch.stamp[0, 0].tolist() == [30, 14, 0, 4, 3]
    assert batch.stamp[0, 6].tolist() == [0, 15, 0, 4, 3]
    assert batch.stamp[1, 8].tolist() == [30, 14, 1, 5, 3]  # over night to the next session


def test_bars_of_later_dates_are_never_read(bars: TrainingBars) -> None:
    """Windows of a span stay the same bytes when everything after it is noise."""
    span = Span(bars.times[0], bars.moments[199])
    values = bars.values.copy()
    later = bars.times > span.last
    values[later] = np.random.default_rng(0).lognormal(3, 2, (int(later.sum()), 6))
    draws = [
        WindowSampler(
            Windows(b, span, length=LENGTH, clip=5.0),
            batch=64,
            epoch_windows=64,
            context=(8, 16),
            seed=0,
            stream=1,
        ).draw(0)
        for b in (bars, replace(bars, values=values))
    ]
    assert torch.equal(draws[0].batch.x, draws[1].batch.x)


def sampler(bars: TrainingBars, rank: int = 0, world: int = 1, seed: int = 0) -> WindowSampler:
    windows = Windows(bars, Span(bars.times[0], bars.times[-1]), length=LENGTH, clip=5.0)
    return WindowSampler(
        windows,
        batch=8,
        epoch_windows=20,
        context=(8, 16),
        seed=seed,
        stream=1,
        rank=rank,
        world=world,
    )


def test_workers_share_out_the_same_windows(bars: TrainingBars) -> None:
    whole, parts = sampler(bars), [sampler(bars, rank, 2) for rank in (0, 1)]
    for step in (0, 2, 3, 7):
        want, got = whole.draw(step), [part.draw(step) for part in parts]
        assert {draw.batch.context for draw in got} == {want.batch.context}
        assert not torch.equal(got[0].batch.x, got[1].batch.x)
        together = torch.stack([draw.batch.x for draw in got], dim=1).flatten(0, 1)
        assert torch.equal(together, want.batch.x)
        noise = np.stack([draw.noise for draw in got], axis=1).reshape(want.noise.shape)
        assert np.array_equal(noise, want.noise)


def test_windows_differ_by_seed_epoch_and_step(bars: TrainingBars) -> None:
    one = sampler(bars)
    assert one.epoch_steps == 3  # 20 windows in steps of 8
    assert one.state(7) == {"epoch": 2, "epoch_step": 1}
    steps = [tuple(one.starts(step)) for step in range(6)]
    assert len(set(steps)) == 6
    assert [tuple(sampler(bars).starts(step)) for step in range(6)] == steps
    assert tuple(sampler(bars, seed=1).starts(0)) != steps[0]
    drawn = np.concatenate([one.starts(step) for step in range(300)])
    assert len(np.unique(drawn)) > 0.7 * len(one.windows)


def test_a_batch_must_be_shared_evenly(bars: TrainingBars) -> None:
    with pytest.raises(ValueError, match="batch of 8 windows cannot be shared evenly by 3"):
        sampler(bars, 0, 3)


def test_windows_need_enough_bars(bars: TrainingBars) -> None:
    with pytest.raises(ValueError, match=r"no ticker has a training window of 24 bars in 2011-01-03 to 2011-01-28; the longest history there has 20"):  # fmt: skip
        Windows(bars, Span(moment("2011-01-03"), moment("2011-01-28")), length=LENGTH, clip=5.0)


def test_validation_looks_at_the_same_windows(bars: TrainingBars) -> None:
    rules = WindowRules(LENGTH, (8, 16))
    span = Span(bars.moments[200], bars.moments[-1])
    windows = Windows(bars, span, length=LENGTH, clip=5.0, after=bars.moments[150])
    batches = validation_batches(windows, rules, 30)
    assert [batch.context for batch in batches] == [8, 12, 16]
    assert [len(batch) for batch in batches] == [10, 10, 10]
    short = Windows(
        bars, Span(bars.moments[-10], bars.moments[-1]), length=LENGTH, clip=5.0,
        after=bars.moments[150],
    )  # fmt: skip
    assert [batch.context for batch in validation_batches(short, rules, 30)] == [16]


@pytest.mark.parametrize(("context", "length"), [((8, 24), 24), ((1, 8), 24), ((9, 8), 24)])
def test_windows_that_cannot_be(context: tuple[int, int], length: int) -> None:
    with pytest.raises(ValueError, match="must satisfy"):
        WindowRules(length, context)


def test_training_bars_are_sorted() -> None:
    values = np.arange(24.0).reshape(4, 6) + 1
    times = np.array(["2020-01-03", "2020-01-02", "2020-01-02", "2020-01-03"], dtype="M8[D]")
    bars = training_bars(["B", "B", "A", "A"], times, values)
    assert bars.tickers == ("A", "B")
    assert bars.ticker.tolist() == [0, 0, 1, 1]
    assert bars.values[:, 0].tolist() == [13, 19, 7, 1]
    assert bars.stamps[0].tolist() == [0, 0, 3, 2, 1]
    assert len(bars.moments) == 2
    assert bars.sha256() != training_bars(["B", "B", "A", "A"], times, values + 1).sha256()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"ticker": ["A", "A"]}, "A has two bars at 2020-01-02"),
        ({"values": np.full((2, 6), np.nan)}, "A at 2020-01-02.*open is nan"),
        ({"factor": np.array([1.0, 0.0])}, "B at 2020-01-02.*adj_factor is 0.0"),
        ({"ticker": [], "times": [], "values": np.empty((0, 6))}, "no bars"),
    ],
)
def test_bars_that_cannot_be(change: dict, rule: str) -> None:
    given = {"ticker": ["A", "B"], "times": ["2020-01-02"] * 2, "values": np.ones((2, 6))}
    with pytest.raises(ValueError, match=rule):
        training_bars(**(given | change))

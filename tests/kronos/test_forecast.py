"""The forecast object, impossible bars, ragged batches and batches that fit in memory."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from kronos_golden import Golden, daily_stamps, random_bars, relative_error

from kronos import Forecast, KronosPredictor, check_kernel
from kronos.decoding.cache import CacheSlice
from kronos.decoding.runner import Runner
from kronos.fast.decoder import FastDecoder
from kronos.fast.kernels import KERNELS, fault
from kronos.forecast import count_impossible, repair_bars
from kronos.transformer import token_agreement

STEPS = 4
usable = [kernel for kernel in KERNELS if fault(kernel) is None]


@pytest.fixture(scope="module", params=usable)
def fast(request: pytest.FixtureRequest, learned: Golden) -> KronosPredictor:
    return KronosPredictor(
        learned.model(), learned.tokenizer(), "cpu", profile="fast", kernel=request.param
    )


def run(predictor: KronosPredictor, windows: np.ndarray, steps: int = STEPS, **kw: Any) -> Forecast:
    count, length = windows.shape[:2]
    past, future = daily_stamps(count, length), daily_stamps(count, steps, "2011-01-03")
    return predictor.forecast(windows, past, future, **kw)


@pytest.mark.parametrize("sampling", [{"top_p": 0.9}, {"T": 0.0}, {"top_k": 3, "T": 1.2}])
def test_profiles_and_cache_give_the_same_paths(
    predictor: KronosPredictor, fast: KronosPredictor, sampling: dict[str, float]
) -> None:
    windows = random_bars(5, 33)
    for seeds in (range(5), None):
        results = []
        for who, cache in ((predictor, False), (predictor, True), (fast, True)):
            torch.manual_seed(1)
            results.append(run(who, windows, paths=3, seeds=seeds, cache=cache, **sampling).paths)
        for result in results[1:]:
            np.testing.assert_allclose(result, results[0], rtol=1e-4)


def test_same_bits_in_the_fast_profile(fast: KronosPredictor) -> None:
    """Whatever the companions, the order, the number of paths, the thread that a row falls to."""
    windows, rng = random_bars(7, 33), np.random.default_rng(1)
    settings: dict[str, Any] = {"batch_rows": 8, "steps": 2}
    whole = run(fast, windows, seeds=range(7), paths=2, **settings).paths
    threads = torch.get_num_threads()
    try:
        for parts, paths, count in ((1, 2, 2), (3, 3, 1)):
            torch.set_num_threads(count)
            for members in np.array_split(rng.permutation(7), parts):
                seeds = [int(i) for i in members]
                got = run(fast, windows[members], seeds=seeds, paths=paths, **settings).paths
                assert np.array_equal(got[:, :2], whole[members])
    finally:
        torch.set_num_threads(threads)


def bits_do_not_depend_on_what_follows(who: KronosPredictor) -> None:
    windows = random_bars(3, 33)
    for sampling in ({"top_p": 0.9}, {"T": 0.0}):
        how: dict[str, Any] = {"seeds": range(3), "batch_rows": 4, **sampling}
        whole = run(who, windows, 40, **how).paths
        for steps in (1, 16, 33):
            assert np.array_equal(run(who, windows, steps, **how).paths, whole[:, :, :steps])


def test_same_bits_however_many_bars_follow(predictor: KronosPredictor) -> None:
    bits_do_not_depend_on_what_follows(predictor)


def test_same_bits_however_many_bars_follow_in_the_fast_profile(fast: KronosPredictor) -> None:
    bits_do_not_depend_on_what_follows(fast)


def test_a_small_memory_budget_changes_no_token(learned: Golden, fast: KronosPredictor) -> None:
    small = KronosPredictor(learned.model(), learned.tokenizer(), "cpu", memory_budget=700_000)
    windows = random_bars(5, 33)
    torch.manual_seed(2)
    want = run(fast, windows, paths=3)
    torch.manual_seed(2)
    got = run(small, windows, paths=3)
    after = torch.rand(1)
    assert got.batch_rows < want.batch_rows == 15
    np.testing.assert_allclose(got.paths, want.paths, rtol=1e-4)
    torch.manual_seed(2)
    run(fast, windows, paths=3)
    assert torch.equal(torch.rand(1), after)  # the global generator ends in the same state


class Full(Runner):
    """A runner on a machine that holds four rows."""

    def _run(self, request: Any, shape: Any) -> np.ndarray:
        if shape.decode_rows > 4:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return super()._run(request, shape)


def test_out_of_memory_halves_the_batch_and_goes_on(
    learned: Golden, caplog: pytest.LogCaptureFixture
) -> None:
    predictor = KronosPredictor(learned.model(), learned.tokenizer(), "cpu")
    windows = random_bars(13, 20)
    want = run(predictor, windows, seeds=range(13))
    predictor.runner = Full(predictor.runner.decoder, predictor.tokenizer, predictor.max_context)
    with caplog.at_level(logging.WARNING, logger="kronos"):
        got = run(predictor, windows, seeds=range(13))
    assert "out of memory with 13 rows" in caplog.text
    assert (got.batch_rows, predictor.runner.row_limit) == (2, 2)
    np.testing.assert_allclose(got.paths, want.paths, rtol=1e-5)
    caplog.clear()
    run(predictor, windows, seeds=range(13))
    assert not caplog.text  # remembered
    with pytest.raises(MemoryError, match="lower batch_rows"):
        run(predictor, windows, seeds=range(13), batch_rows=8)


def test_other_errors_are_not_taken_for_memory(learned: Golden) -> None:
    predictor = KronosPredictor(learned.model(), learned.tokenizer(), "cpu")

    def broken(step: int) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match=r"^no$"):
        run(predictor, random_bars(2, 20), on_step=broken)


def test_ragged_windows_are_grouped(predictor: KronosPredictor) -> None:
    lengths = [20, 31, 20, 7]
    windows = [random_bars(1, n, seed=n)[0] for n in lengths]
    stamps = [daily_stamps(1, n)[0] for n in lengths]
    future = daily_stamps(4, STEPS, "2011-01-03")
    together = predictor.forecast(windows, stamps, future, seeds=range(4), names=list("abcd"))
    assert together.names == ("a", "b", "c", "d")
    for i in range(4):
        alone = predictor.forecast(windows[i][None], stamps[i][None], future[i][None], seeds=[i])
        np.testing.assert_allclose(together.paths[i], alone.paths[0], rtol=1e-5)
    with pytest.raises(ValueError, match="b: x_stamp has 20 entries, 31 needed"):
        predictor.forecast(windows, [stamps[0]] * 4, future, names=list("abcd"))
    with pytest.raises(ValueError, match="y_stamp has 3 entries for 4 windows"):
        predictor.forecast(windows, stamps, future[:3])


def test_statistics_in_place_of_paths(predictor: KronosPredictor) -> None:
    windows = random_bars(3, 20)
    paths = run(predictor, windows, paths=7, seeds=range(3))
    kept = run(predictor, windows, paths=7, seeds=range(3), keep_paths=False, quantiles=[0.25])
    assert kept.paths is None
    assert (kept.n_paths, kept.steps) == (7, STEPS)
    assert np.array_equal(kept.mean, paths.mean)
    assert np.array_equal(kept.quantile(0.25), paths.quantile(0.25))
    assert np.array_equal(kept.p_up(2), paths.p_up(2))
    with pytest.raises(ValueError, match=r"kept the quantiles 0\.25 only"):
        kept.quantile(0.5)
    with pytest.raises(ValueError, match="keep_paths=True"):
        _ = kept.close
    pd.testing.assert_frame_equal(kept.to_pandas(), paths.to_pandas())


def test_to_pandas(predictor: KronosPredictor) -> None:
    windows = random_bars(2, 20)
    result = run(predictor, windows, seeds=[0, 1], names=["AAPL", "IBM"])
    frame = result.to_pandas()
    assert list(frame.columns) == ["open", "high", "low", "close", "volume", "amount", "p_up"]
    assert frame.index.names == ["name", "timestamp"]
    bar = frame.loc[("IBM", pd.Timestamp("2011-01-04"))]
    np.testing.assert_array_equal(bar.to_numpy()[:6], result.mean[1, 1])


# open, high, low, close, volume, amount
GOOD = [10.0, 12.0, 9.0, 11.0, 5.0, 55.0]
IMPOSSIBLE = {
    "high below low": ([10, 9, 12, 11, 5, 55], "high_below_low", [10, 12, 9, 11, 5, 55]),
    "high below close": ([10, 10.5, 9, 11, 5, 55], None, [10, 11, 9, 11, 5, 55]),
    "volume": ([10, 12, 9, 11, -5, -1], "negative_volume", [10, 12, 9, 11, 0, 0]),
    "not finite": ([np.nan, 12, 9, 11, 5, 55], "non_finite", [11, 11, 11, 11, 0, 0]),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_bars_are_counted_and_mended(case: str) -> None:
    bar, rule, want = IMPOSSIBLE[case]
    paths = np.array([[[GOOD, bar, GOOD]], [[GOOD, GOOD, GOOD]]], dtype=np.float32)
    last_close = np.array([11, 11], np.float32)
    sanity = count_impossible(paths, last_close, np.array([1.0, 1.0]), jump_sigmas=5)
    assert sanity.totals() == {
        "non_finite": 0, "negative_volume": 0, "high_below_low": 0, "first_step_jump": 0
    } | ({rule: 1} if rule else {})  # fmt: skip
    mended = repair_bars(paths, last_close)
    np.testing.assert_array_equal(mended[0, 0], np.array([GOOD, want, GOOD], np.float32))
    np.testing.assert_array_equal(mended[1], paths[1])


def test_first_step_jumps_are_counted_and_kept() -> None:
    paths = np.array([[[GOOD]]], np.float32)
    counted = [
        count_impossible(paths, np.array([c], np.float32), np.array([1.0]), jump_sigmas=5)
        for c in (5.5, 6.5)
    ]
    assert [s.first_step_jump.tolist() for s in counted] == [[1], [0]]
    assert np.array_equal(repair_bars(paths, np.array([5.5], np.float32)), paths)


def test_repair_is_for_the_fast_profile(predictor: KronosPredictor, fast: KronosPredictor) -> None:
    windows = random_bars(3, 20)
    with pytest.raises(ValueError, match="repair=True"):
        run(predictor, windows, repair=True)
    plain, mended = (run(fast, windows, paths=9, seeds=range(3), repair=r) for r in (False, True))
    assert plain.sanity.totals() == mended.sanity.totals()
    high, low = mended.paths[..., 1], mended.paths[..., 2]
    assert (high >= low).all()
    assert (mended.paths[..., 4:] >= 0).all()
    assert np.array_equal(mended.close, plain.close)


@pytest.mark.parametrize(
    ("kernel", "rule"), [("mkl", "kernel is 'mkl'"), ("onednn+", "kernel is 'onednn")]
)
def test_unknown_kernels(kernel: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        check_kernel(kernel)


def test_kernels_are_for_the_cpu() -> None:
    check_kernel("stock", "cuda")
    with pytest.raises(ValueError, match="it is for the CPU"):
        check_kernel("onednn", "cuda")


@torch.inference_mode()
def test_bfloat16_agrees_in_most_tokens_and_decodes(golden: Golden) -> None:
    model, half = golden.model(), golden.model().bfloat16()
    s1, s2, stamp = golden.tensor("s1"), golden.tensor("s2"), golden.stamp("x_stamp")
    assert token_agreement(model, model, s1, s2, stamp) == 1
    assert token_agreement(half, model, s1, s2, stamp) > 0.8
    decoder = FastDecoder(half, kernel="stock", max_context=40)
    cache = decoder.new_cache(4, 40)
    hidden = decoder.prefill(s1[:, :20], s2[:, :20], stamp[:, :20], CacheSlice(cache, 0, 4))
    want = model.next_s1_logits(model.hidden_states(s1[:, :20], s2[:, :20], stamp[:, :20]))
    assert relative_error(decoder.s1_logits(hidden).float(), want) < 0.1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("profile", ["exact", "fast"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_on_cuda(learned: Golden, predictor: KronosPredictor, profile: Any, dtype: Any) -> None:
    there = KronosPredictor(
        learned.model(), learned.tokenizer(), "cuda", profile=profile, dtype=dtype
    )
    windows = random_bars(5, 33)
    assert 0.8 < there.token_agreement(windows, daily_stamps(5, 33)) <= 1
    got = run(there, windows, T=0, paths=2)
    assert np.isfinite(got.paths).all()
    if dtype == "float32":
        np.testing.assert_allclose(
            got.paths, run(predictor, windows, T=0, paths=2).paths, rtol=1e-3
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("profile", ["exact", "fast"])
def test_captured_steps_give_the_eager_tokens(learned: Golden, profile: Any) -> None:
    results = []
    for graphs in (False, True):
        there = KronosPredictor(
            learned.model(), learned.tokenizer(), "cuda", profile=profile, cuda_graphs=graphs
        )
        for start in (0, 5):  # the second call replays what the first captured
            windows = random_bars(10, 33)[start : start + 5]
            results.append(run(there, windows, seeds=range(5), paths=2).paths)
    np.testing.assert_allclose(results[0], results[2], rtol=1e-5)
    np.testing.assert_allclose(results[1], results[3], rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"profile": "quick"}, "profile is 'quick'"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"dtype": "bfloat16"}, "bfloat16' is for CUDA"),
        ({"cuda_graphs": True}, "cuda_graphs=True needs a CUDA device"),
        ({"memory_budget": 0}, "memory_budget is 0"),
        ({"profile": "fast", "kernel": "mkl"}, "kernel is 'mkl'"),
    ],
)
def test_settings_outside_their_range(learned: Golden, settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        KronosPredictor(learned.model(), learned.tokenizer(), "cpu", **settings)


def test_series_of_other_columns_are_refused(predictor: KronosPredictor) -> None:
    columns = ["open", "high", "low", "close", "volume"]
    frame = pd.DataFrame(random_bars(1, 20)[0][:, :5], columns=columns)
    past = pd.Series(pd.date_range("2010-01-04", periods=20))
    future = pd.Series(pd.date_range("2011-01-03", periods=STEPS))
    with pytest.raises(ValueError, match=r"series 1: its columns differ.*only series 0 has volume"):
        predictor.predict_batch(
            [frame, frame.drop(columns="volume")], [past] * 2, [future] * 2, STEPS
        )

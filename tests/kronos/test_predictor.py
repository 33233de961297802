from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from kronos_golden import Golden, daily_stamps, random_bars

from kronos import Forecast, KronosPredictor, time_features
from kronos.decoding.decoder import Decoder

STEPS = 4


def frame(length: int = 20, seed: int = 0) -> pd.DataFrame:
    columns = ["open", "high", "low", "close", "volume", "amount"]
    return pd.DataFrame(random_bars(1, length, seed)[0], columns=columns)


def dates(length: int, start: str = "2010-01-04") -> pd.Series:
    return pd.Series(pd.date_range(start, periods=length))


def run(predictor: KronosPredictor, windows: np.ndarray, steps: int = STEPS, **kw: Any) -> Forecast:
    count, length = windows.shape[:2]
    past, future = daily_stamps(count, length), daily_stamps(count, steps, "2011-01-03")
    return predictor.forecast(windows, past, future, **kw)


def test_forecast_shapes_and_statistics(predictor: KronosPredictor) -> None:
    windows = random_bars(3, 20)
    result = run(predictor, windows, paths=5, seeds=[1, 2, 3])
    assert result.paths.shape == (3, 5, STEPS, 6)
    assert result.paths.dtype == np.float32
    assert (result.n_paths, result.steps) == (5, STEPS)
    np.testing.assert_allclose(result.mean, result.paths.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(result.quantile(0.5), np.median(result.paths, axis=1), rtol=1e-6)
    close = windows[:, -1, 3].astype(np.float32)
    up = (result.paths[:, :, 1, 3] > close[:, None]).mean(axis=1)
    np.testing.assert_array_equal(result.p_up(2), up)
    for bad in (0, STEPS + 1):
        with pytest.raises(ValueError, match="step is"):
            result.p_up(bad)
    with pytest.raises(ValueError, match="quantile"):
        result.quantile(1.5)


def test_datetimes_and_features_agree(predictor: KronosPredictor) -> None:
    windows = random_bars(2, 20)
    past, future = daily_stamps(2, 20), daily_stamps(2, STEPS, "2011-01-03")
    a = predictor.forecast(windows, past, future, T=0)
    b = predictor.forecast(windows, time_features(past), time_features(future), T=0)
    assert np.array_equal(a.paths, b.paths)


def test_float32_and_float64_input_agree(predictor: KronosPredictor) -> None:
    windows = random_bars(2, 20).astype(np.float32)
    a, b = (run(predictor, w, T=0).paths for w in (windows, windows.astype(np.float64)))
    assert np.array_equal(a, b)


@pytest.mark.parametrize("sampling", [{"top_p": 0.9}, {"T": 0.0}, {"top_k": 3, "T": 1.2}])
def test_same_bits_whatever_stands_beside_a_window(
    predictor: KronosPredictor, sampling: dict[str, float]
) -> None:
    windows, rng = random_bars(13, 33), np.random.default_rng(1)
    settings: dict[str, Any] = {"paths": 2, "batch_rows": 8, **sampling}
    whole = run(predictor, windows, seeds=range(13), **settings).paths
    for parts in (1, 3, 13):
        order = rng.permutation(13)
        for members in np.array_split(order, parts):
            seeds = [int(i) for i in members]
            assert np.array_equal(
                run(predictor, windows[members], seeds=seeds, **settings).paths, whole[members]
            )


def test_seeded_paths_do_not_depend_on_how_many_there_are(predictor: KronosPredictor) -> None:
    windows = random_bars(3, 20)
    few = run(predictor, windows, paths=2, seeds=[7, 8, 9], batch_rows=8)
    many = run(predictor, windows, paths=5, seeds=[7, 8, 9], batch_rows=8)
    longer = run(predictor, windows, steps=9, paths=2, seeds=[7, 8, 9], batch_rows=8)
    assert np.array_equal(few.paths, many.paths[:, :2])
    np.testing.assert_allclose(few.paths, longer.paths[:, :, :STEPS], rtol=1e-5)
    other = run(predictor, windows, paths=2, seeds=[1, 8, 9], batch_rows=8)
    assert not np.array_equal(other.paths[0], few.paths[0])
    assert np.array_equal(other.paths[1:], few.paths[1:])


def test_greedy_needs_no_seed_and_its_paths_are_equal(predictor: KronosPredictor) -> None:
    windows = random_bars(2, 20)
    greedy = run(predictor, windows, T=0, paths=2)
    assert np.array_equal(greedy.paths[:, 0], greedy.paths[:, 1])
    torch.manual_seed(0)
    top_1 = run(predictor, windows, top_k=1)
    assert np.array_equal(greedy.paths[:, :1], top_1.paths)
    seeded = run(predictor, windows, top_k=1, seeds=[1, 2])
    assert np.array_equal(seeded.paths, top_1.paths)


def test_contexts_beyond_max_context_see_the_last_tokens_only(learned: Golden) -> None:
    short = KronosPredictor(learned.model(), learned.tokenizer(), device="cpu", max_context=16)
    windows = random_bars(2, 40)
    result = run(short, windows, steps=9, T=0)
    assert np.isfinite(result.paths).all()
    with pytest.raises(ValueError, match="17 steps are more than max_context"):
        run(short, windows, steps=17)


def test_constant_prices_forecast_without_nan(predictor: KronosPredictor) -> None:
    windows = random_bars(1, 20)
    windows[..., :4] = 123.456
    windows[..., 4:] = 0
    result = run(predictor, windows, T=0)
    assert np.isfinite(result.paths).all()
    np.testing.assert_allclose(result.paths[..., :4], 123.456, rtol=1e-3)


def test_trained_dependency_rope_is_another_forecast(learned: Golden) -> None:
    windows = random_bars(4, 30)
    results = [
        run(
            KronosPredictor(
                learned.model(), learned.tokenizer(), device="cpu", dependency_rope=rope
            ),
            windows,
            steps=12,
            T=1.5,
            seeds=range(4),
        ).paths
        for rope in ("exact", "trained")
    ]
    assert not np.array_equal(*results)


def test_predict_batch_takes_unequal_lengths(predictor: KronosPredictor) -> None:
    frames = [frame(n, seed=n) for n in (20, 31, 20)]
    past = [dates(len(f)) for f in frames]
    future = [dates(STEPS, "2011-01-03")] * 3
    settings: dict[str, Any] = {"T": 0.0, "verbose": False}
    together = predictor.predict_batch(frames, past, future, STEPS, **settings)
    for i, result in enumerate(together):
        alone = predictor.predict(frames[i], past[i], future[i], STEPS, **settings)
        pd.testing.assert_frame_equal(result, alone, rtol=1e-5)
        assert list(result.index) == list(future[i])


def test_no_windows_no_forecast(predictor: KronosPredictor) -> None:
    result = run(predictor, random_bars(0, 20), paths=3, seeds=[])
    assert result.paths.shape == (0, 3, STEPS, 6)


def test_verbose_counts_steps_on_stderr(
    predictor: KronosPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    predictor.predict(frame(), dates(20), dates(STEPS, "2011-01-03"), STEPS, T=0)
    captured = capsys.readouterr()
    assert "4/4" in captured.err
    assert captured.out == ""


def poke(row: int, column: str, value: float) -> pd.DataFrame:
    bars = frame()
    bars.loc[row, column] = value
    return bars


def swapped(index: pd.Series) -> pd.Series:
    index = index.copy()
    index[3], index[4] = index[4], index[3]
    return index


GOOD: dict[str, Any] = {
    "df": frame(),
    "x_timestamp": dates(20),
    "y_timestamp": dates(STEPS, "2011-01-03"),
    "pred_len": STEPS,
}
BAD = {
    "missing column": ({"df": frame().drop(columns="low")}, "column low is missing"),
    "not a frame": ({"df": frame().to_numpy()}, "must be a pandas DataFrame"),
    "text": ({"df": frame().assign(open="x")}, "not numeric"),
    "NaN": ({"df": poke(5, "close", np.nan)}, "close is nan at row 5"),
    "infinite": ({"df": poke(7, "volume", np.inf)}, "volume is inf at row 7"),
    "beyond float32": ({"df": poke(7, "amount", 1e39)}, "amount is 1e.39 at row 7"),
    "one bar": ({"df": frame(1), "x_timestamp": dates(1)}, "1 bars; a window needs at least 2"),
    "unsorted": ({"x_timestamp": swapped(dates(20))}, "x_timestamp is not sorted at row 4"),
    "duplicate": ({"x_timestamp": dates(20).where(lambda s: s.index != 3, dates(20)[2])},
                  "x_timestamp is a duplicate at row 3"),
    "overlap": ({"y_timestamp": dates(STEPS, "2010-01-20")}, "not after the last bar"),
    "missing time": ({"x_timestamp": dates(20).where(lambda s: s.index != 3)}, "NaT"),
    "few timestamps": ({"x_timestamp": dates(19)}, "x_timestamp has 19 entries, 20 needed"),
    "many timestamps": ({"y_timestamp": dates(9, "2011-01-03")}, "y_timestamp has 9 entries, 4"),
    "zero steps": ({"pred_len": 0, "y_timestamp": dates(0)}, "pred_len is 0"),
    "T": ({"T": -1.0}, "T is -1.0"),
    "top_p": ({"top_p": 0.0}, "top_p is 0.0"),
    "paths": ({"sample_count": 0}, "paths is 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_names_the_series_and_the_rule(predictor: KronosPredictor, case: str) -> None:
    change, rule = BAD[case]
    arguments = GOOD | {"verbose": False} | change
    with pytest.raises(ValueError, match=rule):
        predictor.predict(**arguments)
    if not set(change) <= {"T", "top_p", "sample_count", "pred_len"} and case != "zero steps":
        with pytest.raises(ValueError, match=rf"series 1: .*{rule}"):
            predictor.predict_batch(
                [GOOD["df"], arguments["df"]],
                [GOOD["x_timestamp"], arguments["x_timestamp"]],
                [GOOD["y_timestamp"], arguments["y_timestamp"]],
                STEPS,
                verbose=False,
            )


def arrays(**change: Any) -> dict[str, Any]:
    good = {
        "values": random_bars(2, 20),
        "x_stamp": daily_stamps(2, 20),
        "y_stamp": daily_stamps(2, STEPS, "2011-01-03"),
    }
    return good | change


BROKEN = random_bars(2, 20)
BROKEN[1, 3, 0] = np.nan
BAD_ARRAYS = {
    "shape": (arrays(values=random_bars(2, 20)[0]), r"values has shape \(20, 6\)"),
    "named": (arrays(values=BROKEN, names=["AAPL", "IBM"]), "IBM: open is nan at row 3"),
    "names": (arrays(names=["AAPL"]), "names has 1 entries for 2 windows"),
    "stamps": (arrays(x_stamp=daily_stamps(2, 19)), "x_stamp has shape"),
    "stamp kind": (arrays(y_stamp=np.zeros((2, STEPS))), "y_stamp has shape"),
    "stamp range": (arrays(y_stamp=np.full((2, STEPS, 5), 13)), "weekday is 13 at window 0"),
    "zero steps": (arrays(y_stamp=np.zeros((2, 0, 5))), "zero steps"),
    "order": (arrays(y_stamp=daily_stamps(2, STEPS, "2010-01-05")), "window 0: y_timestamp"),
    "seeds": (arrays(seeds=[1]), "seeds has 1 entries for 2 windows"),
    "batch_rows": (arrays(batch_rows=0), "batch_rows is 0"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays(predictor: KronosPredictor, case: str) -> None:
    arguments, rule = BAD_ARRAYS[case]
    with pytest.raises(ValueError, match=rule):
        predictor.forecast(**arguments)


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"device": "tpu"}, "device 'tpu'"),
        ({"max_context": 1}, "max_context is 1"),
        ({"clip": 0}, "clip is 0"),
        ({"dependency_rope": "no"}, "dependency_rope is 'no'"),
    ],
)
def test_bad_settings(learned: Golden, setting: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        KronosPredictor(learned.model(), learned.tokenizer(), **setting)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there(learned: Golden) -> None:
    with pytest.raises(ValueError, match="'cuda' is not available"):
        KronosPredictor(learned.model(), learned.tokenizer(), device="cuda")


def test_compiling_is_not_asked_for_by_the_environment(
    learned: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KRONOS_COMPILE", "1")
    with pytest.warns(UserWarning, match="KRONOS_COMPILE=1 has no effect, eager mode is used"):
        predictor = KronosPredictor(learned.model(), learned.tokenizer(), "cpu")
    assert predictor.runner.decoder.step.__func__ is Decoder.step

"""From bars to forecast bars: normalise, generate, map back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from kronos.bars import COLUMNS, calendar_stamps, check_bars, normalise, read_series
from kronos.devices import resolve_device
from kronos.embeddings import time_features
from kronos.forecast import CLOSE, Forecast
from kronos.generation import Generation, generate_bars
from kronos.sampling import Sampling, path_uniforms
from kronos.tokenizer import KronosTokenizer
from kronos.transformer import Kronos

__all__ = ["KronosPredictor"]

DependencyRope = Literal["exact", "trained"]


class KronosPredictor:
    """A model and its tokenizer on one device, ready to forecast.

    Parameters
    ----------
    model, tokenizer : moved to ``device`` and set to eval mode
    device : "auto", "cpu", "cuda", "mps" or a torch device; None keeps the model's
    max_context : bars the model sees at most
    clip : normalised inputs are clipped to ± this
    dependency_rope : "exact" decodes s2 without rotation, as published results do; "trained"
        rotates by true positions, as published models were trained

    Raises ValueError for a device that is not there, a tokenizer of other bit widths than the
    model's, or a setting outside its range.
    """

    def __init__(
        self,
        model: Kronos,
        tokenizer: KronosTokenizer,
        device: str | torch.device | None = None,
        max_context: int = 512,
        clip: float = 5,
        *,
        dependency_rope: DependencyRope = "exact",
    ) -> None:
        if (model.s1_bits, model.s2_bits) != (tokenizer.s1_bits, tokenizer.s2_bits):
            raise ValueError(
                f"the model has {model.s1_bits}+{model.s2_bits} bits, the tokenizer "
                f"{tokenizer.s1_bits}+{tokenizer.s2_bits}; they do not belong together"
            )
        if max_context < 2:
            raise ValueError(f"max_context is {max_context}; it must be at least 2 bars")
        if not clip > 0:
            raise ValueError(f"clip is {clip}; it must be above 0")
        if dependency_rope not in ("exact", "trained"):
            raise ValueError(f"dependency_rope is {dependency_rope!r}; use 'exact' or 'trained'")
        self.device = next(model.parameters()).device if device is None else resolve_device(device)
        self.model = model.to(self.device).eval()
        self.tokenizer = tokenizer.to(self.device).eval()
        self.max_context = max_context
        self.clip = clip
        self.dependency_rope = dependency_rope

    def forecast(
        self,
        values: np.ndarray,
        x_stamp: np.ndarray,
        y_stamp: np.ndarray,
        *,
        T: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.9,
        paths: int = 1,
        seeds: Sequence[int] | None = None,
        batch_rows: int | None = None,
        cache: bool = True,
        names: Sequence[str] | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> Forecast:
        """Sample ``paths`` futures of each window.

        Parameters
        ----------
        values : [B, L, 6], open, high, low, close, volume, amount in price units
        x_stamp, y_stamp : datetime64 [B, L] and [B, steps], or :func:`kronos.time_features` of
            them, int [B, L, 5] and [B, steps, 5]
        T, top_k, top_p : see :class:`kronos.sampling.Sampling`; T = 0 is greedy
        seeds : one a window. The noise then belongs to (seed, path, step). None draws from torch's
            global generator, all rows together.
        batch_rows : run every forward on exactly this many rows (rows = windows · paths), filled
            with copies. With seeds, or greedy, a window's result then has the same bits whichever
            windows stand beside it.
        cache : keep keys and values where that is exact (context + steps - 1 within max_context);
            False runs over the whole context at each step
        names : one a window, for error messages
        on_step : called with the number of steps done

        Raises ValueError naming the series and the rule: bars that are not finite, fewer than two
        bars, zero steps, steps beyond max_context, timestamps out of order, wrong counts.
        """
        values = np.asarray(values)
        labels = window_labels(values, names)
        windows, length = values.shape[:2]
        sampling = Sampling(T, top_k, top_p)
        for name, count in (("paths", paths), ("batch_rows", batch_rows)):
            if count is not None and count < 1:
                raise ValueError(f"{name} is {count}; it must be at least 1")
        for label, window in zip(labels, values, strict=True):
            check_bars(window, label)
        x_features, y_features = calendar_stamps(x_stamp, y_stamp, labels, length)
        steps = y_features.shape[1]
        if steps > self.max_context:
            raise ValueError(f"{steps} steps are more than max_context ({self.max_context})")
        if seeds is not None and len(seeds) != windows:
            raise ValueError(f"seeds has {len(seeds)} entries for {windows} windows")
        if windows == 0:
            return Forecast(np.empty((0, paths, steps, 6), np.float32), np.empty(0, np.float32))
        uniforms = None
        if seeds is not None:
            uniforms = path_uniforms(seeds, paths, steps).reshape(windows * paths, steps, 2)
        x, mean, scale = (
            np.stack(parts)
            for parts in zip(*(normalise(window, self.clip) for window in values), strict=True)
        )
        stamp = np.concatenate((x_features, y_features), axis=1)
        generation = Generation(
            steps=steps,
            max_context=self.max_context,
            sampling=sampling,
            paths=paths,
            batch_rows=batch_rows,
            dependency_rope=self.dependency_rope == "trained",
            cache=cache,
        )
        generated = self._generate(x, stamp, generation, uniforms, on_step)
        generated = generated.reshape(windows, paths, steps, len(COLUMNS))
        prices = generated * scale[:, None, None] + mean[:, None, None]
        return Forecast(prices, values[:, -1, CLOSE].astype(np.float32))

    @torch.inference_mode()
    def _generate(
        self,
        x: np.ndarray,
        stamp: np.ndarray,
        generation: Generation,
        uniforms: np.ndarray | None,
        on_step: Callable[[int], None] | None,
    ) -> np.ndarray:
        """Normalised bars [B · paths, steps, 6]."""
        noise = None
        if uniforms is not None:
            # MPS has no float64.
            kind = torch.float32 if self.device.type == "mps" else torch.float64
            noise = torch.from_numpy(uniforms).to(self.device, kind)
        bars = generate_bars(
            self.model,
            self.tokenizer,
            torch.from_numpy(x).to(self.device),
            torch.from_numpy(stamp).to(self.device),
            generation,
            uniforms=noise,
            on_step=on_step,
        )
        return bars.float().cpu().numpy()

    def predict(
        self,
        df: pd.DataFrame,
        x_timestamp: Any,
        y_timestamp: Any,
        pred_len: int,
        T: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.9,
        sample_count: int = 1,
        verbose: bool = True,
    ) -> pd.DataFrame:
        """Forecast one series: the mean over ``sample_count`` paths, indexed by ``y_timestamp``.

        Parameters
        ----------
        df : bars, columns open, high, low, close and optionally volume, amount
        x_timestamp, y_timestamp : of the bars, and of the ``pred_len`` bars to forecast
        verbose : show the progress on stderr

        Raises ValueError naming the rule that the input breaks.
        """
        return self._predict(
            [df],
            [x_timestamp],
            [y_timestamp],
            pred_len,
            T,
            top_k,
            top_p,
            sample_count,
            verbose,
            names=["bars"],
        )[0]

    def predict_batch(
        self,
        df_list: Sequence[pd.DataFrame],
        x_timestamp_list: Sequence[Any],
        y_timestamp_list: Sequence[Any],
        pred_len: int,
        T: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.9,
        sample_count: int = 1,
        verbose: bool = True,
    ) -> list[pd.DataFrame]:
        """:meth:`predict` for many series. Series of equal length run together; any mix is fine."""
        names = [f"series {i}" for i in range(len(df_list))]
        return self._predict(
            df_list,
            x_timestamp_list,
            y_timestamp_list,
            pred_len,
            T,
            top_k,
            top_p,
            sample_count,
            verbose,
            names=names,
        )

    def _predict(
        self,
        frames: Sequence[pd.DataFrame],
        x_timestamps: Sequence[Any],
        y_timestamps: Sequence[Any],
        pred_len: int,
        T: float,
        top_k: int,
        top_p: float,
        sample_count: int,
        verbose: bool,
        *,
        names: list[str],
    ) -> list[pd.DataFrame]:
        if not len(frames) == len(x_timestamps) == len(y_timestamps):
            raise ValueError(
                f"{len(frames)} frames, {len(x_timestamps)} x_timestamps and {len(y_timestamps)} "
                "y_timestamps; each series needs one of each"
            )
        if pred_len < 1:
            raise ValueError(f"pred_len is {pred_len}; a forecast needs at least 1 step")
        series = [
            read_series(frame, x, y, pred_len, name)
            for frame, x, y, name in zip(frames, x_timestamps, y_timestamps, names, strict=True)
        ]
        by_length: dict[int, list[int]] = {}
        for i, (bars, _, _) in enumerate(series):
            by_length.setdefault(len(bars), []).append(i)
        results: dict[int, pd.DataFrame] = {}
        for members in by_length.values():
            values, contexts, futures = zip(*(series[i] for i in members), strict=True)
            forecast = self.forecast(
                np.stack(values),
                np.stack([time_features(index) for index in contexts]),
                np.stack([time_features(index) for index in futures]),
                T=T,
                top_k=top_k,
                top_p=top_p,
                paths=sample_count,
                names=[names[i] for i in members],
                on_step=progress(pred_len) if verbose else None,
            )
            for i, mean, index in zip(members, forecast.mean, futures, strict=True):
                results[i] = pd.DataFrame(mean, columns=list(COLUMNS), index=index)
        return [results[i] for i in range(len(frames))]


def window_labels(values: np.ndarray, names: Sequence[str] | None) -> list[str]:
    """What to call the windows of ``values`` [B, L, 6] in errors."""
    if values.ndim != 3 or values.shape[2] != len(COLUMNS):
        raise ValueError(f"values has shape {values.shape}; it must be [windows, bars, 6]")
    if names is None:
        return [f"window {i}" for i in range(len(values))]
    if len(names) != len(values):
        raise ValueError(f"names has {len(names)} entries for {len(values)} windows")
    return list(names)


def progress(steps: int) -> Callable[[int], None]:
    """A counter on stderr."""

    def show(done: int) -> None:
        end = "\n" if done == steps else ""
        sys.stderr.write(f"\rforecast step {done}/{steps}{end}")
        sys.stderr.flush()

    return show

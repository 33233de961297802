"""From bars to forecast bars: normalise, generate, map back."""

from __future__ import annotations

import copy
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
import pandas as pd
import torch

from kronos.bars import COLUMNS, normalise, read_frames
from kronos.decoding.decoder import Decoder, capture_steps
from kronos.decoding.runner import Request, Runner
from kronos.decoding.sampling import Sampling
from kronos.devices import resolve_device
from kronos.embeddings import time_features
from kronos.fast.kernels import (
    check_kernel,
    choose_kernel,
    fast_bars_decoder,
    fast_decoder,
    fast_encoder,
)
from kronos.forecast import Forecast, ForecastOptions, count_impossible, merge, repair_bars
from kronos.prepare import group_by_length, prepare
from kronos.tokenizer import KronosTokenizer
from kronos.transformer import Kronos, token_agreement
from kronos.weights.info import checkpoint_info

__all__ = ["KronosPredictor", "load_predictor"]

DependencyRope = Literal["exact", "trained"]
Profile = Literal["exact", "fast"]
DType = Literal["float32", "bfloat16"]


def load_predictor(
    name: str | Path,
    tokenizer: str | Path | None = None,
    *,
    revision: str | None = None,
    tokenizer_revision: str | None = None,
    device: str | torch.device = "auto",
    max_context: int | None = None,
    **settings: Any,
) -> KronosPredictor:
    """A predictor by name: the checkpoint that ships, a published one, or a local folder.

    Parameters
    ----------
    name, tokenizer, revision, tokenizer_revision, max_context
        See :func:`kronos.checkpoint_info`.
    device, **settings
        See :class:`KronosPredictor`.

    Raises
    ------
    CheckpointError
        When a file is missing, does not fit, or cannot be fetched.
    ValueError
        For a device that is not there, or a setting outside its range.
    """
    revisions = {"revision": revision, "tokenizer_revision": tokenizer_revision}
    info = checkpoint_info(name, tokenizer, max_context=max_context, **revisions)
    return KronosPredictor(
        Kronos.from_folder(info.model_folder),
        KronosTokenizer.from_folder(info.tokenizer_folder),
        device=device,
        max_context=info.max_context,
        **settings,
    )


class DeviceOptions(TypedDict, total=False):
    """How a predictor uses its device.

    Attributes
    ----------
    memory_budget : int or None
        Bytes for weights, caches and activations; None takes 2 GB on a CPU and 60 % of the free
        memory on CUDA. Calls with ``batch_rows`` do not look at it.
    dtype : {"float32", "bfloat16"}
        "bfloat16" halves the model's memory traffic on CUDA, at the price of other tokens;
        :meth:`token_agreement` says how many stay. The tokenizer stays in float32.
    cuda_graphs : bool
        Replay decode steps from CUDA graphs.
    """

    memory_budget: int | None
    dtype: DType
    cuda_graphs: bool


class KronosPredictor:
    """A model and its tokenizer on one device, ready to forecast.

    Parameters
    ----------
    model, tokenizer
        Moved to ``device`` and set to eval mode.
    device : str, torch.device or None
        "auto", "cpu", "cuda", "mps" or a torch device; None keeps the model's.
    max_context : int
        Bars the model sees at most.
    clip : float
        Normalised inputs are clipped to ± this.
    profile : {"exact", "fast"}
        "exact" computes as published implementations do; "fast" gives the same tokens, with logits
        within 1e-5, in less time.
    kernel : str or None
        Of the fast profile, see :mod:`kronos.fast.kernels`; None takes what
        :func:`kronos.fast.kernels.choose_kernel` finds. Choose once for all processes of a run:
        another kernel gives other last bits.
    dependency_rope : {"exact", "trained"}
        "exact" decodes s2 without rotation, as published results do; "trained" rotates by true
        positions, as published models were trained.
    **device_options
        See :class:`DeviceOptions`.

    Raises
    ------
    ValueError
        For a device that is not there, a tokenizer of other bit widths than the model's, or a
        setting outside its range.
    """

    def __init__(
        self,
        model: Kronos,
        tokenizer: KronosTokenizer,
        device: str | torch.device | None = None,
        max_context: int = 512,
        clip: float = 5,
        profile: Profile = "exact",
        *,
        kernel: str | None = None,
        dependency_rope: DependencyRope = "exact",
        **device_options: Unpack[DeviceOptions],
    ) -> None:
        memory_budget = device_options.get("memory_budget")
        dtype = device_options.get("dtype", "float32")
        self.device = next(model.parameters()).device if device is None else resolve_device(device)
        self.max_context, self.clip = max_context, clip
        self.dependency_rope, self.profile = dependency_rope, profile
        check_pair(model, tokenizer)
        self._check_settings(memory_budget, dtype)
        self.model = model.to(self.device).eval()
        self.reference = self.model
        if dtype == "bfloat16":
            self.model = copy.deepcopy(self.model).bfloat16()
        self.tokenizer = tokenizer.to(self.device).eval()
        self.kernel = "stock"
        if profile == "fast":
            self.kernel = choose_kernel(self.device) if kernel is None else kernel
            check_kernel(self.kernel, self.device)
        self.runner = self._new_runner(memory_budget)
        if device_options.get("cuda_graphs", False):
            capture_steps(self.runner.decoder)
        if os.environ.get("KRONOS_COMPILE", "0") == "1":
            warnings.warn(
                "KRONOS_COMPILE=1 has no effect, eager mode is used; "
                "`python -m kronos.bench compile` shows why",
                stacklevel=2,
            )

    def _check_settings(self, memory_budget: int | None, dtype: str) -> None:
        if self.max_context < 2:
            raise ValueError(f"max_context is {self.max_context}; it must be at least 2 bars")
        if not self.clip > 0:
            raise ValueError(f"clip is {self.clip}; it must be above 0")
        for name, value, choices in (
            ("dependency_rope", self.dependency_rope, ("exact", "trained")),
            ("profile", self.profile, ("exact", "fast")),
            ("dtype", dtype, ("float32", "bfloat16")),
        ):
            if value not in choices:
                raise ValueError(f"{name} is {value!r}; use {choices[0]!r} or {choices[1]!r}")
        if memory_budget is not None and memory_budget < 1:
            raise ValueError(f"memory_budget is {memory_budget}; it must be a number of bytes")
        if dtype == "bfloat16" and self.device.type != "cuda":
            raise ValueError(f"dtype 'bfloat16' is for CUDA, not for {self.device.type}")

    def _new_runner(self, memory_budget: int | None) -> Runner:
        rope, budget = self.dependency_rope == "trained", memory_budget
        if self.profile == "exact":
            decoder = Decoder(self.model, dependency_rope=rope)
            return Runner(decoder, self.tokenizer, self.max_context, memory_budget=budget)
        how: dict[str, Any] = {"kernel": self.kernel, "max_context": self.max_context}
        return Runner(
            fast_decoder(self.model, dependency_rope=rope, **how),
            self.tokenizer,
            self.max_context,
            fast_bars_decoder(self.tokenizer, **how),
            fast_encoder(self.tokenizer, **how),
            memory_budget=budget,
        )

    def token_agreement(self, values: np.ndarray, x_stamp: np.ndarray) -> float:
        """Share of greedy choices equal to those in float32, over windows [B, L, 6].

        1 in float32 itself; see :func:`kronos.transformer.token_agreement`.
        """
        if self.model is self.reference:
            return 1.0
        stamp = x_stamp if x_stamp.dtype.kind != "M" else time_features(x_stamp)
        x = np.stack([normalise(window, self.clip)[0] for window in values])
        with torch.inference_mode():
            s1, s2 = self.tokenizer.encode(torch.from_numpy(x).to(self.device), half=True)
        seen = torch.from_numpy(np.ascontiguousarray(stamp)).to(self.device)
        return token_agreement(self.model, self.reference, s1, s2, seen)

    def forecast(
        self,
        values: np.ndarray | Sequence[np.ndarray],
        x_stamp: np.ndarray | Sequence[np.ndarray],
        y_stamp: np.ndarray,
        *,
        T: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.9,
        paths: int = 1,
        seeds: Sequence[int] | None = None,
        **options: Unpack[ForecastOptions],
    ) -> Forecast:
        """Sample ``paths`` futures of each window.

        Parameters
        ----------
        values : [B, L, 6], or a list of [L, 6]
            Open, high, low, close, volume, amount in price units. A list may hold any lengths, with
            ``x_stamp`` a list too; equal lengths run together.
        x_stamp, y_stamp : datetime64 [B, L] and [B, steps], or int [B, L, 5] and [B, steps, 5]
            Times, or :func:`kronos.time_features` of them.
        T, top_k, top_p
            See :class:`kronos.decoding.sampling.Sampling`; T = 0 is greedy.
        seeds : sequence of int or None
            One a window. The noise then belongs to (seed, path, step). None draws from torch's
            global generator, all rows together.
        **options
            See :class:`ForecastOptions`.

        Raises
        ------
        ValueError
            Naming the series and the rule: bars that are not finite, fewer than two bars, zero
            steps, steps beyond max_context, timestamps out of order, wrong counts.
        """
        batch_rows, repair = options.get("batch_rows"), options.get("repair", False)
        cache, on_step = options.get("cache", True), options.get("on_step")
        if repair and self.profile == "exact":
            raise ValueError("repair=True changes published results; use profile='fast'")
        sampling = Sampling(T, top_k, top_p)
        if paths < 1:
            raise ValueError(f"paths is {paths}; it must be at least 1")
        if batch_rows is not None and batch_rows < 1:
            raise ValueError(f"batch_rows is {batch_rows}; it must be at least 1")
        parts = []
        for group in group_by_length(values, x_stamp, y_stamp, seeds, options.get("names")):
            ready = prepare(group, paths=paths, clip=self.clip, max_context=self.max_context)
            x, stamp, uniforms, steps = ready.x, ready.stamp, ready.uniforms, ready.steps
            bars, rows = self.runner.run(
                Request(x, stamp, steps, paths, sampling, uniforms, batch_rows, cache, on_step)
            )
            generated = bars.reshape(len(x), paths, steps, len(COLUMNS))
            prices = generated * ready.scale[:, None, None] + ready.mean[:, None, None]
            jump = options.get("jump_sigmas", 10.0)
            sanity = count_impossible(prices, ready.last_close, ready.change_std, jump_sigmas=jump)
            if repair:
                prices = repair_bars(prices, ready.last_close)
            made = Forecast(prices, ready.last_close, ready.labels, ready.timestamps, sanity, rows)
            parts.append((made, group.members))
        result = parts[0][0] if len(parts) == 1 else merge(parts)
        if options.get("keep_paths", True):
            return result
        return result.summary(options.get("quantiles", (0.05, 0.5, 0.95)))

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
        df : DataFrame
            Bars, columns open, high, low, close and optionally volume, amount.
        x_timestamp, y_timestamp
            Times of the bars, and of the ``pred_len`` bars to forecast.
        verbose : bool
            Show the progress on stderr.

        Raises
        ------
        ValueError
            Naming the rule that the input breaks.
        """
        sampling: dict[str, Any] = {"T": T, "top_k": top_k, "top_p": top_p, "paths": sample_count}
        series = [df], [x_timestamp], [y_timestamp]
        return self._predict(["bars"], *series, pred_len, verbose, **sampling)[0]

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
        sampling: dict[str, Any] = {"T": T, "top_k": top_k, "top_p": top_p, "paths": sample_count}
        series = df_list, x_timestamp_list, y_timestamp_list
        return self._predict(names, *series, pred_len, verbose, **sampling)

    def _predict(
        self,
        names: list[str],
        frames: Sequence[pd.DataFrame],
        x_timestamps: Sequence[Any],
        y_timestamps: Sequence[Any],
        pred_len: int,
        verbose: bool,
        **sampling: Any,
    ) -> list[pd.DataFrame]:
        values, contexts, futures = read_frames(frames, x_timestamps, y_timestamps, pred_len, names)
        if not values:
            return []
        forecast = self.forecast(
            values,
            [time_features(context) for context in contexts],
            np.stack([time_features(future) for future in futures]),
            names=names,
            on_step=progress(pred_len) if verbose else None,
            **sampling,
        )
        return [
            pd.DataFrame(mean, columns=list(COLUMNS), index=future)
            for mean, future in zip(forecast.mean, futures, strict=True)
        ]


def check_pair(model: Kronos, tokenizer: KronosTokenizer) -> None:
    """Raise ValueError unless both speak of the same tokens."""
    if (model.s1_bits, model.s2_bits) != (tokenizer.s1_bits, tokenizer.s2_bits):
        raise ValueError(
            f"the model has {model.s1_bits}+{model.s2_bits} bits, the tokenizer "
            f"{tokenizer.s1_bits}+{tokenizer.s2_bits}; they do not belong together"
        )


def progress(steps: int) -> Callable[[int], None]:
    """A counter on stderr."""

    def show(done: int) -> None:
        end = "\n" if done == steps else ""
        sys.stderr.write(f"\rforecast step {done}/{steps}{end}")
        sys.stderr.flush()

    return show

"""Larger studies on paper: windows, FLOPs, bytes, hours and dollars, from rates measured here.

1. `flops` counts the arithmetic of one window: prefill, cached decoding, tokenizer.
2. `_measure` times each model size on one thread, and plain matrix products beside it; their
   quotient is the efficiency that the table's core-hours rest on.
3. A GPU's time is not measured but modelled (`_gpu_seconds`) from the assumptions in `Gpu`.
"""

from __future__ import annotations

import argparse
import io
import time
from dataclasses import dataclass

import numpy as np

from engine.bench.result import BenchResult
from engine.forecasters.statistics import step_statistics

__all__ = ["SUMMARY", "Gpu", "Study", "flops", "run"]

SUMMARY = "98 and 5,000 names, daily and 5-minute bars: FLOPs, bytes, hours, dollars on paper"
MODELS = ("mini", "small", "base")
VOCABULARY = 1024  # of s1 and of s2
TOKENIZER_FLOPS = 2 * 3 * (4 * 256**2 + 3 * 256 * 512)  # a token through three blocks of d 256
BAR_BYTES = 64  # eight numbers of a bar, in the store's columns and in the price array
CORE_DOLLARS = 0.04  # an hour of a rented core
SHARD_WINDOWS = 64


@dataclass(frozen=True)
class Gpu:
    """What a GPU is assumed to do: an H100-class card, in float32 without TF32.

    `flops` and `bytes_s` are shares (half, 60 %) of 67 TFLOP/s and 3.35 TB/s. Eager decoding
    cannot be faster than its launches: 1.2 ms a step for eight layers.
    """

    flops: float = 0.5 * 67e12
    bytes_s: float = 0.6 * 3.35e12
    launch_s_per_layer: float = 1.2e-3 / 8
    rows: int = 512
    dollars: float = 2.50


@dataclass(frozen=True)
class Study:
    """Windows of `lookback` bars, each forecast `steps` bars ahead."""

    name: str
    tickers: int
    sessions: int
    bars_a_session: int
    lookback: int
    steps: int

    @property
    def windows(self) -> int:
        """One a ticker and session."""
        return self.tickers * self.sessions

    @property
    def bars(self) -> int:
        """Bars of the sessions and of the first windows' lookback."""
        return self.tickers * (self.sessions * self.bars_a_session + self.lookback)


STUDIES = (
    Study("98 × 10 years daily", 98, 2520, 1, 252, 90),
    Study("5,000 × 10 years daily", 5000, 2520, 1, 252, 90),
    Study("5,000 × 1 year of 5-minute bars", 5000, 252, 78, 390, 78),
)


def flops(model: str, lookback: int, steps: int) -> float:
    """Floating-point operations of one window, two a multiply-add; nothing is computed twice."""
    prefill, decode = _prefill_flops(model, lookback), 0.0
    for context in range(lookback, lookback + steps - 1):
        decode += _step_flops(model, context)
    tokenizer = TOKENIZER_FLOPS * (2 * lookback + steps)
    return prefill + decode + _heads_flops(model) * steps + tokenizer


def _sizes(model: str) -> tuple[int, int, int]:
    from kronos.bench.setup import SIZES

    layers, d_model, _, ff_dim, _ = SIZES[model]
    return layers, d_model, ff_dim


def _token_flops(model: str) -> float:
    """Matrix products of one token: embedding, blocks, keys and values of the dependency layer."""
    layers, d, ff = _sizes(model)
    return 2.0 * (2 * d * d + layers * (4 * d * d + 3 * d * ff) + 2 * d * d)


def _heads_flops(model: str) -> float:
    """Both heads and the dependency layer's query and output, once a forecast bar."""
    _, d, _ = _sizes(model)
    return 2.0 * (2 * d * VOCABULARY + 2 * d * d)


def _prefill_flops(model: str, lookback: int) -> float:
    layers, d, _ = _sizes(model)
    return lookback * _token_flops(model) + layers * 2.0 * d * lookback**2


def _step_flops(model: str, context: int) -> float:
    layers, d, _ = _sizes(model)
    return _token_flops(model) + (layers + 1) * 4.0 * d * context


def _cache_bytes(model: str, tokens: int) -> float:
    """Keys and values of one row, dependency layer included, in float32."""
    layers, d, _ = _sizes(model)
    return 2.0 * (layers + 1) * d * 4 * tokens


def _gpu_seconds(model: str, study: Study, gpu: Gpu) -> float:
    """Seconds a window: arithmetic of the prefill, then per step the slowest of arithmetic,
    reading the cache, and launching."""
    layers, _, _ = _sizes(model)
    total = _prefill_flops(model, study.lookback) / gpu.flops * gpu.rows
    for context in range(study.lookback, study.lookback + study.steps):
        arithmetic = (_step_flops(model, context) + _heads_flops(model)) * gpu.rows / gpu.flops
        reading = _cache_bytes(model, context) * gpu.rows / gpu.bytes_s
        total += max(arithmetic, reading, gpu.launch_s_per_layer * layers)
    tokenizer = TOKENIZER_FLOPS * (2 * study.lookback + study.steps)
    return total / gpu.rows + tokenizer / gpu.flops


def run(arguments: list[str]) -> BenchResult:
    """The table of studies and models."""
    options = _options(arguments)
    gpu = Gpu()
    peak = _matmul_flops()
    rates = {model: _measure(model, options.rows) for model in MODELS}
    kept = _shard_bytes()
    rows = []
    for study in STUDIES:
        for model in MODELS:
            work = flops(model, study.lookback, study.steps)
            core_hours = study.windows * work / rates[model] / 3600
            gpu_hours = study.windows * _gpu_seconds(model, study, gpu) / 3600
            rows.append(
                (
                    study.name,
                    model,
                    f"{study.windows / 1e6:.2f} M",
                    f"{work / 1e9:,.1f}",
                    f"{study.windows * work / 1e15:,.1f}",
                    f"{study.bars * BAR_BYTES / 1e9:,.2f}",
                    f"{study.windows * study.steps * kept / 1e9:,.1f}",
                    _figure(core_hours),
                    _figure(core_hours * CORE_DOLLARS),
                    _figure(gpu_hours),
                    _figure(gpu_hours * gpu.dollars),
                )
            )
    measured = ", ".join(
        f"{model} {rate / 1e9:.0f} GFLOP/s ({rate / peak:.0%})" for model, rate in rates.items()
    )
    return BenchResult(
        "scaling",
        (
            "study", "model", "windows", "GFLOP a window", "PFLOP", "bars GB", "shards GB",
            "core-hours", "core $", "GPU-hours (modelled)", "GPU $",
        ),
        rows,
        (
            f"Measured, one thread, processor time: {measured} of {peak / 1e9:.0f} GFLOP/s that "
            f"plain float32 products reach; {options.rows} windows of 252 bars, 90 steps.",
            f"Shards: {kept:.1f} bytes a window and step, measured on {SHARD_WINDOWS} windows.",
            f"Assumed: a core-hour ${CORE_DOLLARS}, a GPU-hour ${gpu.dollars:.2f}, a GPU with "
            f"{gpu.flops / 1e12:.0f} TFLOP/s and {gpu.bytes_s / 1e12:.1f} TB/s left of its "
            f"nominal 67 and 3.35, {gpu.rows} rows a forward.",
        ),
    )  # fmt: skip


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _matmul_flops() -> float:
    """FLOP/s of one thread in float32 products of the model's shape, best of five."""
    import torch

    torch.set_num_threads(1)
    x, weight = torch.randn(2048, 512), torch.randn(1024, 512)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(5):
            started = time.process_time()
            for _ in range(10):
                torch.nn.functional.linear(x, weight)
            best = min(best, time.process_time() - started)
    return 10 * 2 * x.numel() * weight.shape[0] / best


def _measure(model: str, rows: int) -> float:
    """FLOP/s of the fast profile on one thread, by processor time."""
    import torch

    from kronos.bench.setup import build, windows
    from kronos.fast.kernels import choose_kernel

    torch.set_num_threads(1)
    predictor = build(model, profile="fast", kernel=choose_kernel("cpu"), device="cpu")
    values, x_stamp, y_stamp = windows(rows, 252, 90)
    started = time.process_time()
    predictor.forecast(
        values, x_stamp, y_stamp, top_p=0.9, seeds=list(range(rows)), batch_rows=rows
    )
    return rows * flops(model, 252, 90) / (time.process_time() - started)


def _shard_bytes() -> float:
    """Bytes that one window and step take in a shard, one path."""
    steps, rng = 90, np.random.default_rng(0)
    closes = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (SHARD_WINDOWS, 1, steps)), axis=2))
    names = tuple(f"S{i:05d}" for i in range(SHARD_WINDOWS))
    days = np.full(SHARD_WINDOWS, np.datetime64("2024-06-28", "D"))
    frame = step_statistics(names, days, np.full(SHARD_WINDOWS, 50.0), closes)
    content = io.BytesIO()
    frame.write_parquet(content, compression="zstd")
    return content.tell() / (SHARD_WINDOWS * steps)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m engine.bench scaling", allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=32, help="windows to time each model with")
    return parser.parse_args(arguments)

"""Models of the published sizes with random weights, seeded inputs, and clocks."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from kronos.embeddings import time_features
from kronos.fast.blocks import linear_factory
from kronos.fast.machine import processor
from kronos.fast.native import NativeLinear
from kronos.predictor import KronosPredictor
from kronos.tokenizer import KronosTokenizer
from kronos.transformer import Kronos

__all__ = ["SIZES", "Clock", "build", "hardware", "measured", "peak_bytes", "rates", "windows"]

SIZES = {
    "tiny": (2, 64, 2, 128, 512),
    "mini": (4, 256, 4, 512, 2048),
    "small": (8, 512, 8, 1024, 512),
    "base": (12, 832, 16, 2048, 512),
}


class Clock(NamedTuple):
    """Seconds of a call: on the wall, and of all threads of the process."""

    wall: float
    cpu: float


def build(size: str, **settings: Any) -> KronosPredictor:
    """A predictor of a published size, its weights drawn from a fixed seed."""
    layers, d_model, heads, ff_dim, context = SIZES[size]
    torch.manual_seed(0)
    model = Kronos(10, 10, layers, d_model, heads, ff_dim, 0, 0, 0, 0, True)
    group = 5 if size == "mini" else 4
    tokenizer = KronosTokenizer(6, 256, 4, 512, 4, 4, 0, 0, 0, 10, 10, 0.05, 1.0, 1.1, 0.05, group)
    return KronosPredictor(model, tokenizer, max_context=context, **settings)


def windows(count: int, length: int, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(values, x_stamp, y_stamp) of ``count`` random walks, from a fixed seed."""
    rng = np.random.default_rng(0)
    close = 50 * np.exp(rng.normal(0, 0.02, (count, length)).cumsum(axis=1))
    volume = rng.lognormal(12, 0.5, close.shape)
    values = np.stack([close, close * 1.01, close / 1.01, close, volume, volume * close], axis=-1)
    days = np.datetime64("2020-01-01") + np.arange(length + steps)
    stamp = np.broadcast_to(time_features(days), (count, length + steps, 5))
    return values, stamp[:, :length], stamp[:, length:]


def measured(work: Callable[[], object]) -> Clock:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Clock(time.perf_counter() - wall, time.process_time() - cpu)


def peak_bytes() -> int:
    """The largest resident size of this process so far."""
    try:
        # Unlike ru_maxrss, not inherited from the process that started this one.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        pass
    scale = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def hardware() -> dict[str, Any]:
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_at_start": os.getloadavg()[0],
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": "cpu",
    }


@torch.inference_mode()
def rates(kernel: str) -> dict[str, float]:
    """Best of a few: FLOP/s of the linears, of "stock" too, and bytes/s of reading memory."""

    def flops(linear: Callable[[torch.Tensor], object]) -> float:
        spent = min(measured(lambda: linear(x)).wall for _ in range(7))
        return 2 * x.numel() * 1536 / spent

    x, weight = torch.randn(4032, 512), torch.randn(1536, 512)
    block = torch.ones(100_000_000)
    read = min(measured(lambda: block.sum()).wall for _ in range(5))
    return {
        "linear_flops": flops(
            NativeLinear(weight) if kernel == "native" else linear_factory(kernel)(weight)
        ),
        "stock_flops": flops(lambda x: F.linear(x, weight)),
        "read_bytes": block.numel() * 4 / read,
    }

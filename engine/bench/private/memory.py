"""Ten thousand shards through two actors: the driver and the object store must not grow."""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
from rich.console import Console

from engine.bench.private.chaos_job import make_bars
from engine.bench.result import BenchResult
from engine.calendar import TradingCalendar
from engine.forecasters.rules import RuleSpec
from engine.progress import WorkProgress
from engine.scoring.cluster import ray_cluster
from engine.scoring.driver import Slots, score_shards
from engine.scoring.plan import cut_shards, plan_windows
from engine.scoring.price_array import PriceArray
from engine.scoring.shard_store import ShardStore
from engine.scoring.status import Status

__all__ = ["growth", "run"]

SUMMARY = "memory of the driver and of the object store over 10,000 shards"
LOOKBACK = 32
WINDOWS = 4  # of a shard
STEPS = 20


def growth(shards: int, folder: Path, progress: Callable[[int], None]) -> np.ndarray:
    """float64 [samples, 3]: shards committed, driver's resident bytes, object store's bytes."""
    import ray

    calendar = TradingCalendar("XNYS")
    tickers = 40
    prices = PriceArray.from_bars(make_bars(calendar, tickers))
    sessions = calendar.sessions(date(2015, 6, 1), date(2019, 11, 1))
    asofs = sessions[: -(-shards * WINDOWS // tickers)]
    plan = plan_windows(prices, calendar, asofs, lookback=LOOKBACK, steps=STEPS, seed=0)
    samples: list[tuple[float, float, float]] = []

    def sample(status: Status) -> None:
        progress(status.shards)
        if not samples or status.shards - samples[-1][0] >= shards / 50:
            free = ray.available_resources().get("object_store_memory", 0.0)
            whole = ray.cluster_resources().get("object_store_memory", 0.0)
            samples.append((status.shards, _resident(), whole - free))

    store = ShardStore(folder, "0" * 64)
    score_shards(
        cut_shards(plan, plan.planned.head(shards * WINDOWS), WINDOWS),
        spec=RuleSpec("momentum"),
        prices=prices,
        lookback=LOOKBACK,
        store=store,
        slots=Slots(2),
        progress=sample,
    )
    return np.array(samples)


def slope(samples: np.ndarray, column: int) -> float:
    """Bytes per shard over the second half, when caches are warm (least squares)."""
    half = samples[len(samples) // 2 :]
    return float(np.polyfit(half[:, 0], half[:, column], 1)[0])


def run(arguments: list[str]) -> BenchResult:
    """Growth in bytes per shard."""
    parser = argparse.ArgumentParser(prog="python -m engine.bench memory", allow_abbrev=False)
    parser.add_argument("--shards", type=int, default=10_000)
    options = parser.parse_args(arguments)
    logging.getLogger("engine").setLevel(logging.ERROR)
    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="engine-memory-") as folder,
        ray_cluster(None, cpus=2, object_bytes=0),
        WorkProgress(Console(), "scoring", options.shards, "shards") as progress,
    ):
        samples = growth(options.shards, Path(folder), progress.update)
    seconds = time.perf_counter() - started
    return BenchResult(
        name="memory",
        columns=["what", "at half, MB", "at the end, MB", "slope, bytes per shard"],
        rows=[
            [
                what,
                round(samples[len(samples) // 2, column] / 1e6, 1),
                round(samples[-1, column] / 1e6, 1),
                round(slope(samples, column), 1),
            ]
            for what, column in (("driver", 1), ("object store", 2))
        ],
        notes=[
            f"{int(samples[-1, 0]):,} shards of {WINDOWS} windows × {STEPS} steps, committed, in "
            f"{seconds:.0f} s; momentum on 2 actors; slope over the second half."
        ],
    )


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))

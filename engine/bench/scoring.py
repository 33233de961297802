"""What Ray, the driver and the commits cost.

1. `_through_ray` scores nano's shards with the driver on two actors of one core, commits included.
2. `_bare` scores the same shards in two processes that do nothing else: slice, forecast, measure.
3. `_EmptySpec` takes no time, so its shards, committed or not, show what handing out costs.
4. `_resume` reads what a killed run left: as many finished files, checked and decoded.

Clocks start when every actor or process is ready, and stop with the last window.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from engine.bench.made_up import brownian_bars
from engine.bench.result import BenchResult
from engine.calendar import TradingCalendar
from engine.config.settings import ModelSettings, SamplingSettings, ScoringSettings
from engine.forecasters.forecaster import Forecaster, ForecasterSpec, WindowPanel
from engine.forecasters.kronos import KronosSpec
from engine.forecasters.statistics import step_statistics
from engine.scoring.cluster import ray_cluster
from engine.scoring.driver import Slots, score_shards
from engine.scoring.plan import Shard, cut_shards, plan_windows
from engine.scoring.price_array import PriceArray
from engine.scoring.shard_store import ShardStore, encode_shards
from engine.scoring.status import Status

__all__ = ["SUMMARY", "run"]

SUMMARY = "nano on two actors beside a bare loop; empty shards per second"
LOOKBACK, STEPS, ACTORS = 128, 20, 2
LAST = date(2024, 12, 31)
FILE_WINDOWS, FILE_STEPS = 16, 20


@dataclass(frozen=True)
class _Work:
    """Shards of one plan, and what they are cut from."""

    prices: PriceArray
    shards: Sequence[Shard]
    steps: int


def run(arguments: list[str]) -> BenchResult:
    """Throughput through Ray over that of a bare loop, and empty shards per second."""
    options = _options(arguments)
    work = _work(options.shards, options.windows, STEPS)
    scoring = ScoringSettings(
        lookback=LOOKBACK,
        horizons=[STEPS],
        batch_size=options.windows,
        sampling=SamplingSettings(temperature=1.0, top_p=0.9, paths=1),
    )
    spec = KronosSpec.from_settings(ModelSettings(name="kronos-nano", device="cpu"), scoring)
    through, bare = [], []
    empty: dict[bool, float] = {}
    with ray_cluster(None, cpus=ACTORS, object_bytes=work.prices.nbytes):
        for _ in range(options.repeats):  # in turn, so that a noisy machine disturbs both
            through.append(_through_ray(work, spec, commit=True))
            bare.append(_bare(work, spec))
        trifles = _work(options.empty, 1, 1)
        for commit in (False, True):
            rates = [_through_ray(trifles, _EmptySpec(), commit=commit) for _ in range(3)]
            empty[commit] = statistics.median(rates)
    resumed = _resume(options.files)
    ratios = [ours / theirs for ours, theirs in zip(through, bare, strict=True)]
    return BenchResult(
        "scoring",
        ("what", "figure"),
        (
            ("nano through Ray, windows/s", statistics.median(through)),
            ("nano in a bare loop, windows/s", statistics.median(bare)),
            ("through Ray ÷ bare (0.95 wanted)", f"{statistics.median(ratios):.3f}"),
            ("empty shards/s, uncommitted (1,500 wanted)", empty[False]),
            ("empty shards/s, committed (500 wanted)", empty[True]),
            (f"reading {options.files:,} finished files, s", resumed),
        ),
        (
            f"{options.shards} shards of {options.windows} windows × {STEPS} steps, lookback "
            f"{LOOKBACK}, on {ACTORS} actors or processes of one core, commits included; median "
            f"of {options.repeats} alternated pairs, whose ratios were "
            f"{', '.join(f'{ratio:.3f}' for ratio in ratios)}.",
            f"Empty: {options.empty:,} shards of one window, median of three.",
            f"Finished files: {FILE_WINDOWS} windows × {FILE_STEPS} steps each, every byte checked "
            "against its hash, three horizons read.",
        ),
    )


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m engine.bench scoring", allow_abbrev=False)
    parser.add_argument("--shards", type=int, default=48)
    parser.add_argument("--windows", type=int, default=64, help="windows of a shard")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--empty", type=int, default=10_000, help="empty shards")
    parser.add_argument("--files", type=int, default=10_000, help="finished files to resume from")
    return parser.parse_args(arguments)


def _work(shards: int, size: int, steps: int) -> _Work:
    calendar = TradingCalendar("XNYS")
    dates = -(-shards * size // 64)
    needed = dates + LOOKBACK - 1
    sessions = calendar.sessions(LAST - timedelta(days=2 * needed), LAST)[-needed:]
    prices = PriceArray.from_bars(brownian_bars(sessions, 64))
    plan = plan_windows(prices, calendar, sessions[-dates:], lookback=LOOKBACK, steps=steps, seed=0)
    return _Work(prices, cut_shards(plan, plan.planned.head(shards * size), size)[:], steps)


def _through_ray(work: _Work, spec: ForecasterSpec, *, commit: bool) -> float:
    """Windows/s from the moment that all actors are ready; those done by then do not count."""
    ready: list[tuple[float, int]] = []

    def watch(status: Status) -> None:
        busy = [actor for actor in status.actors if actor.state in ("scoring", "idle")]
        if not ready and len(busy) == ACTORS:
            ready.append((time.perf_counter(), status.windows))

    with tempfile.TemporaryDirectory(prefix="engine-scoring-") as folder:
        store = ShardStore(Path(folder) / "shards", "0" * 64) if commit else None
        if store:
            store.prepare()
        outcome = score_shards(
            work.shards,
            spec=spec,
            prices=work.prices,
            lookback=LOOKBACK,
            store=store,
            slots=Slots(ACTORS),
            progress=watch,
        )
    ended = time.perf_counter()
    wanted = sum(map(len, work.shards))
    if outcome.windows != wanted:
        raise RuntimeError(f"{outcome.windows} of {wanted} windows were scored")
    since, before = ready[0]
    return (wanted - before) / (ended - since)


def _bare(work: _Work, spec: ForecasterSpec) -> float:
    """Windows/s of two processes, each with every second shard, from a common start."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(ACTORS + 1)
    processes = [
        context.Process(target=_loop, args=(work, spec, barrier, number))
        for number in range(ACTORS)
    ]
    for process in processes:
        process.start()
    barrier.wait(300)
    started = time.perf_counter()
    barrier.wait(3600)
    seconds = time.perf_counter() - started
    for process in processes:
        process.join()
    return sum(map(len, work.shards)) / seconds


def _loop(work: _Work, spec: ForecasterSpec, barrier: Barrier, number: int) -> None:
    forecaster = spec.build(1)
    mine = work.shards[number::ACTORS]
    forecaster.score(mine[0].panel(work.prices, LOOKBACK), mine[0].asof(work.prices))
    barrier.wait(300)
    for shard in mine:
        forecaster.score(shard.panel(work.prices, LOOKBACK), shard.asof(work.prices))
    barrier.wait(3600)


def _resume(files: int) -> float:
    """Seconds to list, check and decode the finished shards of a run."""
    rng = np.random.default_rng(0)
    names = tuple(f"S{i:05d}" for i in range(FILE_WINDOWS))
    walks = np.cumsum(rng.normal(0, 0.02, (FILE_WINDOWS, 1, FILE_STEPS)), axis=2)
    day, last = np.datetime64("2000-01-03", "D"), np.full(FILE_WINDOWS, 50.0)
    days = np.full(FILE_WINDOWS, day)
    frame = step_statistics(names, days, last, 50 * np.exp(walks)).with_columns(hash="ticker")
    with tempfile.TemporaryDirectory(prefix="engine-resume-") as folder:
        store = ShardStore(folder, "0" * 64)
        for number in range(files):
            own = {"asof": pl.lit((day + number).item()), "shard": pl.lit(f"{number:020d}")}
            content = encode_shards(frame.with_columns(**own), store.fingerprint)
            # Not `commit`: flushing each to disk is no part of reading them.
            (Path(folder) / store.name(f"{number:020d}", content)).write_bytes(content)
        started = time.perf_counter()
        found = store.read(columns=["terminal_score", "last_close"], steps=[5, 10, 20])
        seconds = time.perf_counter() - started
    if found.frame is None or found.frame.height != files * FILE_WINDOWS * 3:
        raise RuntimeError("finished files were not read back whole")
    return seconds


@dataclass(frozen=True)
class _EmptySpec:
    """A forecaster that has nothing to compute."""

    def identity(self) -> dict[str, Any]:
        return {"forecaster": "empty"}

    def nested_steps(self, lookback: int) -> int | None:
        return None

    def build(self, threads: int) -> Forecaster:
        return _Empty()


class _Empty:
    def score(self, panel: WindowPanel, asof: np.ndarray) -> pl.DataFrame:
        last = panel.values[:, -1, 3].astype(np.float64)
        steps = panel.future.shape[1]
        return step_statistics(panel.tickers, asof, last, np.ones((len(panel), 1, steps)))

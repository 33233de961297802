"""How long features and labels of a whole market take, beside pandas doing the same work.

Every measurement runs in a process of its own, so that its peak memory is its own; the bars are in
it from the start. The judging of scores is measured by `judging_statistics`, whose rows follow.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

from engine.bench.private.noise import noise_market
from engine.bench.private.pandas_work import pandas_features, pandas_labels
from engine.bench.result import BenchResult, peak_memory_gb
from engine.data import Market
from engine.features import FACTORS, compute_labels, market_features

__all__ = ["SUMMARY", "run"]

SUMMARY = "features and labels of a whole market, beside pandas; and judging its scores"
HORIZONS = (5, 10, 20)
_STATISTICS = "engine.bench.private.judging_statistics"


def run(arguments: list[str]) -> BenchResult:
    """`--names`, `--dates`, `--pandas-names`, `--without-statistics`."""
    parser = argparse.ArgumentParser(prog="engine.bench judging", allow_abbrev=False)
    parser.add_argument("--names", type=int, default=5000)
    parser.add_argument("--dates", type=int, default=2500)
    parser.add_argument("--pandas-names", type=int, default=1000)
    parser.add_argument("--without-statistics", action="store_true")
    asked = parser.parse_args(arguments)
    ours = _apart(_ours, asked.names, asked.dates)
    theirs = _apart(_pandas, asked.pandas_names, asked.dates)
    size, less = (f"{n:,} × {asked.dates:,}" for n in (asked.names, asked.pandas_names))
    scale = asked.names / asked.pandas_names
    rows: list[list[Any]] = [
        [f"features ({len(FACTORS)}), {size}, daily", *ours["features"], None],
        [f"labels ({len(HORIZONS)} horizons), {size}, daily", *ours["labels"], None],
        ["features + labels", *_sum(ours), ours["memory"]],
        [f"pandas, the same on {less}", *_sum(theirs), theirs["memory"]],
        [f"pandas, {size} (estimated: × {scale:g})", *(scale * x for x in _sum(theirs)), None],
    ]
    notes = [
        "peak memory is the process's, GB, with bars, features and labels all held at once",
        "CPU seconds are shown because others used the machine too",
        "pandas: wide frames, rolling windows, stacked into the same long frame at the end",
    ]
    if not asked.without_statistics and importlib.util.find_spec(_STATISTICS):
        judged: BenchResult = importlib.import_module(_STATISTICS).run([])
        rows += [[*row, *[None] * (4 - len(row))] for row in judged.rows]
        notes += judged.notes
    return BenchResult("judging", ("work", "seconds", "CPU seconds", "peak memory GB"), rows, notes)


def _apart(work: Callable[[int, int], dict[str, Any]], names: int, dates: int) -> dict[str, Any]:
    """Call in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (names, dates))


def _ours(names: int, dates: int) -> dict[str, Any]:
    market = noise_market(0, names=names, sessions=dates, benchmark=True)
    factors = list(FACTORS)
    # The first query of a process loads what every later one has.
    market_features(noise_market(0, names=2, sessions=300), factors)
    features, took = _timed(lambda: market_features(market, factors))
    labels, labelling = _timed(lambda: compute_labels(market, _asofs(market), HORIZONS))
    assert features.height == names * dates
    assert labels.height == features.height * len(HORIZONS)
    return {"features": took, "labels": labelling, "memory": peak_memory_gb()}


def _pandas(names: int, dates: int) -> dict[str, Any]:
    market = noise_market(0, names=names, sessions=dates, benchmark=True)
    assert market.benchmark is not None
    bars, benchmark = market.bars.to_pandas(), market.benchmark.to_pandas()
    features, took = _timed(lambda: pandas_features(bars, benchmark))
    labels, labelling = _timed(lambda: pandas_labels(bars, benchmark, HORIZONS))
    assert len(features) == names * dates
    assert len(labels) == len(features) * len(HORIZONS)
    return {"features": took, "labels": labelling, "memory": peak_memory_gb()}


def _asofs(market: Market) -> list[Any]:
    return market.bars["date"].unique().sort().to_list()


def _sum(measured: dict[str, Any]) -> list[float]:
    return [a + b for a, b in zip(measured["features"], measured["labels"], strict=True)]


def _timed(work: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """The result, and the seconds it took: by the clock, and of processor time on all cores."""
    started, busy = time.perf_counter(), time.process_time()
    found = work()
    return found, (time.perf_counter() - started, time.process_time() - busy)

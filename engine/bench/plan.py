"""Planning at scale: seconds and memory for 5,000 tickers × 2,500 decision dates."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from engine.bench.made_up import brownian_bars
from engine.bench.result import BenchResult
from engine.calendar import TradingCalendar
from engine.scoring.plan import cut_shards, plan_windows
from engine.scoring.price_array import PriceArray

__all__ = ["SUMMARY", "run"]

SUMMARY = "planning 5,000 tickers × 2,500 dates: seconds, memory"
CALENDAR, LAST = "XNYS", date(2024, 12, 31)


def run(arguments: list[str]) -> BenchResult:
    """Seconds, and GB of resident memory at the end and at the peak, of each step of planning."""
    options = _options(arguments)
    calendar = TradingCalendar(CALENDAR)
    needed = options.dates + options.lookback - 1
    sessions = calendar.sessions(LAST - timedelta(days=2 * needed), LAST)[-needed:]
    steps = _Steps()
    with steps("simulated bars"):
        bars = brownian_bars(sessions, options.tickers)
    with steps("price array"):
        prices = PriceArray.from_bars(bars)
        del bars
    with steps("plan"):
        plan = plan_windows(
            prices,
            calendar,
            sessions[-options.dates :],
            lookback=options.lookback,
            steps=90,
            seed=0,
        )
    with steps("every shard made and named, one by one"):
        shards = cut_shards(plan, plan.planned, 64)
        for shard in shards:
            assert shard.id
    size = plan.windows.estimated_size() / 1e9
    return BenchResult(
        "plan",
        ("step", "seconds", "resident GB before", "at its peak", "after"),
        steps.rows,
        (
            f"{plan.windows.height:,} windows of {options.lookback} bars, {len(shards):,} shards; "
            f"the plan is {size:.2f} GB ({size / plan.windows.height * 1e9:.0f} bytes a window), "
            f"the price array {prices.nbytes / 1e9:.2f} GB.",
        ),
    )


class _Steps:
    """Rows of (step, seconds, resident GB before, at its peak, after)."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, float, float, float]] = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before, started = _resident("VmRSS"), time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        after = _resident("VmRSS")
        peak = max(before, after, _resident("VmHWM"))  # the kernel's counters lag a little
        self.rows.append((name, seconds, before, peak, after))


def _resident(what: str) -> float:
    """GB, from Linux's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) * 1024 / 1e9


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m engine.bench plan", allow_abbrev=False)
    parser.add_argument("--tickers", type=int, default=5000)
    parser.add_argument("--dates", type=int, default=2500)
    parser.add_argument("--lookback", type=int, default=252)
    return parser.parse_args(arguments)

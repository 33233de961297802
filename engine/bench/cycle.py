"""One live cycle: 98 names' bars to target weights with a model of Kronos-small's size.

`python -m engine.signals` as the loop and a user start it, in a process of its own, with nothing
scored before: read, load, forecast, rank, weigh, write. Then the next session, to see
that nothing is left of the first. Memory is that of the process and all it started.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from engine.bench.made_up import brownian_bars, random_checkpoint
from engine.bench.result import BenchResult
from engine.calendar import TradingCalendar
from engine.errors import UsageError

__all__ = ["SUMMARY", "run", "tree_memory"]

SUMMARY = "one live cycle: signals of 98 names with a Kronos-small's work, seconds and memory"
LOOKBACK, HISTORY = 252, 600
LAST = date(2024, 12, 31)
SECONDS, MEMORY_GB = 60, 3.0
SAMPLED_EVERY_S = 0.2


def run(arguments: list[str]) -> BenchResult:
    """Seconds and peak memory of two cycles, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m engine.bench cycle", allow_abbrev=False)
    parser.add_argument("--names", type=int, default=98)
    parser.add_argument("--horizons", default="20,60,90")
    parser.add_argument("--size", default="small", choices=("mini", "small", "base"))
    options, settings = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory(prefix="engine-cycle-") as temporary:
        folder = Path(temporary)
        calendar = TradingCalendar("XNYS")
        sessions = calendar.sessions(LAST - timedelta(days=2 * HISTORY), LAST)[-HISTORY:]
        brownian_bars(sessions, options.names).write_parquet(folder / "bars.parquet")
        random_checkpoint(folder / "checkpoint", options.size)
        flags = [
            *("--data.source", "parquet", "--data.path", str(folder / "bars.parquet")),
            *("--data.benchmark", "null", "--model.name", str(folder / "checkpoint")),
            *("--scoring.lookback", str(LOOKBACK), "--scoring.horizons", options.horizons),
            *("--scoring.sampling.paths", "1", "--scoring.batch_size", "32"),
            *("--scoring.actors", "1", "--scoring.cpus_per_actor", "2"),
            *("--scoring.cache", "off", "--live.forecaster.fallback", "null"),
            *("--run.dir", str(folder), *settings),
        ]
        cycles = [_cycle(asof, flags, folder, options.names) for asof in sessions[-2:]]
    rows = [
        (f"{name} cycle", seconds, processor, memory / 1e9, own / 1e9)
        for name, (seconds, processor, memory, own) in zip(("first", "second"), cycles, strict=True)
    ]
    met = all(row[1] <= SECONDS and row[3] <= MEMORY_GB for row in rows)
    return BenchResult(
        "cycle",
        ("what", "seconds", "processor s", "peak memory, GB", "of which the loop's own, GB"),
        rows,
        [
            f"{options.names} names, lookback {LOOKBACK}, horizons {options.horizons}, one path, "
            f"batches of 32, one process of two threads, a random checkpoint of size "
            f"{options.size}, no cache.",
            f"Asked for: {SECONDS} s and {MEMORY_GB:g} GB; {'met' if met else 'not met'}.",
            "Processor seconds are of all threads: on a busy machine they say more than seconds.",
            "Memory is the sum of proportional set sizes of all processes, five samples a second; "
            "the loop's own is what stays when the scoring process has ended.",
        ],
    )


def _cycle(asof: date, flags: list[str], folder: Path, names: int) -> tuple[float, float, int, int]:
    """Seconds, processor seconds of all processes, peak bytes of all, of the command itself."""
    used = _processor_seconds()
    command = [sys.executable, "-m", "engine.signals", "--as-of", asof.isoformat(), *flags]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=sys.stderr.fileno())
    peak, own = _peaks(process)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise UsageError(f"engine.signals ended with exit code {process.returncode}")
    path = folder / "signals" / f"{asof}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["scored"] != names or content["forecaster"]["fallback_reason"]:
        raise UsageError(f"{content['scored']} of {names} names scored by {content['forecaster']}")
    return seconds, _processor_seconds() - used, peak, own


def _processor_seconds() -> float:
    """Of all processes that have ended and were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def tree_memory(root: int) -> int:
    """Bytes of `root` and its descendants; a page that several share counts once (PSS). Linux."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    total, left = 0, [root]
    while left:
        pid = left.pop()
        left += parents.get(pid, [])
        total += _pss(pid)
    return total


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:  # it has ended
        return 0
    found = [line.split()[1] for line in text.splitlines() if line.startswith("Pss:")]
    return int(found[0]) * 1024 if found else 0


def _peaks(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Until the process ends, five times a second: the largest `tree_memory`, and the largest of
    the process alone."""
    peak, own = 0, 0
    while process.poll() is None:
        peak, own = max(peak, tree_memory(process.pid)), max(own, _pss(process.pid))
        time.sleep(SAMPLED_EVERY_S)
    return peak, own

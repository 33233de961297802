"""The published smoke run: 98 tickers × 63 sessions × horizons 20/60/90, a Kronos-small's work.

The whole job as a user starts it, in a process of its own, with the settings of
`configs/smoke.yaml`; then again with other costs. With `--dates` below 63 a part is run and
the rest is estimated from its rate.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from engine.bench.made_up import brownian_bars, random_checkpoint
from engine.bench.result import BenchResult
from engine.calendar import TradingCalendar
from engine.errors import UsageError

__all__ = ["SUMMARY", "run"]

SUMMARY = "98 tickers × 63 dates × horizons 20/60/90, Kronos-small's size, the whole job"
TICKERS, DATES, LONGEST, LOOKBACK = 98, 63, 90, 252
LAST = date(2024, 12, 31)
REFERENCE_HOURS = 72.0  # the same on a laptop's processor, by the original project's account


def run(arguments: list[str]) -> BenchResult:
    """Seconds of the job, of its scoring, and of a second run with other costs."""
    options, settings = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="engine-smoke-") as temporary:
        folder = Path(temporary)
        if options.model is None:
            options.model = random_checkpoint(folder / "checkpoint", "small")
        if options.path is None:
            options.path = _bars(folder / "bars.parquet")
        first, made = _backtest(options, folder, settings)
        # Three times: right after the job the machine is still ending its Ray.
        runs = [
            _backtest(options, folder, [*settings, "--costs.round_trip_bps", bps])
            for bps in ("25", "26", "27")
        ]
    windows = made["windows_planned"]
    if not windows or made["windows_computed"] + sum(made["failed"].values()) != windows:
        raise UsageError(f"{windows} windows planned, {made['windows_computed']} scored")
    if again := sum(reused["windows_computed"] for _, reused in runs):
        raise UsageError(f"other costs scored {again} windows again")
    scoring = made["seconds"]["scores"]
    rows = [
        ("windows (98 × 63 = 6,174)" if windows == 6174 else "windows", windows),
        ("the whole job, s", first),
        ("  its scoring, s", scoring),
        ("windows/s", windows / scoring),
        ("again with other costs, s (median of 3)", median(seconds for seconds, _ in runs)),
    ]
    notes = [f"Run as: --config smoke.yaml {' '.join(settings)}".strip() + "."]
    if options.dates < DATES:
        whole = first + scoring * (DATES / options.dates - 1)
        rows.append((f"estimated for {DATES} dates, minutes", whole / 60))
        notes.append(
            f"Only {options.dates} of {DATES} dates were run; the last row is an estimate."
        )
    else:
        rows.append(("minutes", first / 60))
        rows.append(("times as fast as the original's 72 hours", REFERENCE_HOURS * 3600 / first))
    return BenchResult("smoke", ("what", "figure"), rows, notes)


def _options(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """This benchmark's options, and settings that are handed on to the job."""
    parser = argparse.ArgumentParser(prog="python -m engine.bench smoke", allow_abbrev=False)
    parser.add_argument("--dates", type=int, default=DATES, help="run a part and estimate the rest")
    parser.add_argument("--data.path", dest="path", type=Path, help="bars in Parquet (simulated)")
    parser.add_argument("--model.name", dest="model", type=Path, help="a checkpoint (random)")
    options, settings = parser.parse_known_args(arguments)
    if not 1 <= options.dates <= DATES:
        raise UsageError(f"--dates: from 1 to {DATES}")
    return options, settings


def _bars(path: Path) -> Path:
    needed = LOOKBACK + DATES + LONGEST
    sessions = TradingCalendar("XNYS").sessions(LAST - timedelta(days=2 * needed), LAST)
    brownian_bars(sessions[-needed:], TICKERS).write_parquet(path)
    return path


def _backtest(
    options: argparse.Namespace, folder: Path, settings: list[str]
) -> tuple[float, dict[str, Any]]:
    """Wall seconds of the command and the manifest it left."""
    command = [
        *(sys.executable, "-m", "engine.backtest", "--config", "smoke.yaml"),
        *("--data.source", "parquet", "--data.path", str(options.path)),
        *("--model.name", str(options.model), "--model.trained_until", "2000-01-01"),
        *("--evaluation.max_dates", str(options.dates)),
        # What an earlier benchmark left in the shared cache would be read instead of scored.
        *("--run.dir", str(folder / "runs"), "--scoring.cache", "off", *settings),
    ]
    started = time.perf_counter()
    done = subprocess.run(command, stdout=sys.stderr.fileno(), check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise UsageError(f"the job ended with exit code {done.returncode}")
    manifest = folder / "runs" / "smoke" / "manifest.json"
    return seconds, json.loads(manifest.read_text(encoding="utf-8"))

"""The price store: imports as whole commands, and reading the bars of a run."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from engine.bench.result import BenchResult
from engine.calendar import TradingCalendar
from engine.data.store import PriceStore

__all__ = ["SUMMARY", "run"]

SUMMARY = "imports into the price store (once, again, 50 million rows), and reading"

SMALL_ROWS = 569_297
SESSIONS = 5_000
TICKERS_A_FILE = 500
READ_SESSIONS = 504


class _Timed(NamedTuple):
    seconds: float
    gigabytes: float


def run(arguments: list[str]) -> BenchResult:
    """Simulated bars in a temporary folder; needs about 130 bytes of disk a row."""
    parser = argparse.ArgumentParser(prog="engine.bench store", allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=50_000_000, help="rows of the large import")
    parser.add_argument("--file", type=Path, help="bars of the small import (default: simulated)")
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's)")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        rows = [*_small(folder, given.file), *_large(folder, given.rows)]
    return BenchResult(
        name="store",
        columns=("what", "rows", "seconds", "peak GB"),
        rows=rows,
        notes=(
            "imports are whole commands (python -m engine.data import), Python's start included",
            "peak GB is the command's resident memory; of reading, the size of the frame",
            "files and store are in the system's page cache; files are simulated"
            + ("" if given.file is None else f", the small one is {given.file.name}"),
        ),
    )


def _small(folder: Path, file: Path | None) -> Iterator[tuple]:
    if file is None:
        file = folder / "small.parquet"
        tickers = -(-SMALL_ROWS // SESSIONS)
        _simulated(0, tickers, SESSIONS).head(SMALL_ROWS).write_parquet(file)
    store = folder / "small.duckdb"
    count = pl.scan_parquet(file).select(pl.len()).collect().item()
    for what in ("import", "import again (nothing to do)"):
        timed = _import(file, store)
        yield what, f"{count:,}", timed.seconds, timed.gigabytes


def _large(folder: Path, rows: int) -> Iterator[tuple]:
    files = folder / "large"
    files.mkdir()
    tickers = max(rows // SESSIONS, 1)
    for first in range(0, tickers, TICKERS_A_FILE):
        count = min(TICKERS_A_FILE, tickers - first)
        path = files / f"{first:06}.parquet"
        _simulated(first, count, SESSIONS).write_parquet(path, compression="lz4")
    store = folder / "large.duckdb"
    timed = _import(files, store)
    yield "import a folder", f"{tickers * SESSIONS:,}", timed.seconds, timed.gigabytes
    yield _read(store)


def _read(path: Path) -> tuple:
    store = PriceStore.open(path)
    span = store.span()
    assert span is not None
    first = store.calendar.sessions(*span)[-READ_SESSIONS]
    started = time.perf_counter()
    bars = store.bars(None, first)
    seconds = time.perf_counter() - started
    what = f"read the last {READ_SESSIONS} sessions"
    return what, f"{bars.height:,}", seconds, bars.estimated_size() / 1e9


def _import(file: Path, store: Path) -> _Timed:
    command = [sys.executable, "-m", "engine.data", "import", str(file), "--data.store", str(store)]
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    return _Timed(seconds, usage.ru_maxrss * 1024 / 1e9)


def _simulated(first: int, tickers: int, sessions: int) -> pl.DataFrame:
    """Random walks of `tickers` names on the last `sessions` sessions of 2024."""
    days = TradingCalendar("XNYS").sessions(date(1990, 1, 1), date(2024, 12, 31))[-sessions:]
    rng = np.random.default_rng(first)
    shape = (tickers, sessions)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, shape), axis=1)).ravel()
    opening = close * np.exp(rng.normal(0, 0.005, close.size))
    spread = 1 + np.abs(rng.normal(0, 0.005, close.size))
    names = pl.Series([f"S{first + i:06}" for i in range(tickers)])
    return pl.DataFrame(
        {
            "ticker": names.gather(np.repeat(np.arange(tickers), sessions)),
            "date": pl.concat([pl.Series(days)] * tickers),
            "open": opening,
            "high": np.maximum(opening, close) * spread,
            "low": np.minimum(opening, close) / spread,
            "close": close,
            "volume": rng.integers(1_000, 1_000_000, close.size).astype(np.float64),
        }
    )

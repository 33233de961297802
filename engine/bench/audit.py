"""How fast a simulated market is made up, and how fast its bars are audited."""

from __future__ import annotations

import argparse
import time
from datetime import date

import polars as pl

from engine.bench.result import BenchResult, peak_memory_gb
from engine.calendar import TradingCalendar
from engine.config.data import SimulatedSettings
from engine.data.check.audit import audit
from engine.data.simulated import Simulation

__all__ = ["SUMMARY", "run"]

SUMMARY = "simulating daily bars, and auditing them by every rule"


def run(arguments: list[str]) -> BenchResult:
    """One table: rows, seconds and rows a second of each step."""
    parser = argparse.ArgumentParser(prog="python -m engine.bench audit")
    parser.add_argument("--tickers", type=int, default=110)
    parser.add_argument("--years", type=int, default=22)
    options = parser.parse_args(arguments)
    calendar = TradingCalendar("XNYS")
    end = date(2003 + options.years, 12, 31)
    settings = SimulatedSettings(n_tickers=options.tickers, start=date(2004, 1, 2), end=end)
    calendar.sessions(settings.start, end)
    started = time.perf_counter()
    market = Simulation(settings, calendar).run()
    bars = market.bars.with_columns(source=pl.lit("simulated"))
    simulated = time.perf_counter() - started
    found = audit(bars, calendar)
    audited = time.perf_counter() - started - simulated
    rows = [
        (step, f"{bars.height:,}", round(seconds, 2), f"{bars.height / seconds:,.0f}")
        for step, seconds in (("simulate", simulated), ("audit", audited))
    ]
    notes = [
        f"{bars['ticker'].n_unique()} tickers, {settings.start} to {end}",
        f"{found.findings.height} findings",
        f"peak memory {peak_memory_gb():.1f} GB",
    ]
    return BenchResult("audit", ("step", "rows", "seconds", "rows a second"), rows, notes)

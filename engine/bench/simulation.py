"""Portfolio simulation: a grid of strategy parameters and costs over many names and sessions."""

from __future__ import annotations

import argparse
import importlib
import itertools
import time
from datetime import date

import numpy as np
import polars as pl

from engine.bench.result import BenchResult, peak_memory_gb
from engine.calendar import TradingCalendar
from strategies import build_strategy

__all__ = ["SUMMARY", "run"]

SUMMARY = "simulating 10 × 10 strategy and cost settings on 500 names × 2,500 sessions"


def run(arguments: list[str]) -> BenchResult:
    """Times the first simulation after import, and the grid at monthly and daily rebalance."""
    parser = argparse.ArgumentParser(prog="python -m engine.bench simulation")
    parser.add_argument("--names", type=int, default=500)
    parser.add_argument("--sessions", type=int, default=2500)
    parser.add_argument("--parameters", type=int, default=10)
    parser.add_argument("--costs", type=int, default=10)
    parser.add_argument("--rebalance", nargs="+", default=["monthly", "daily"])
    parser.add_argument("--memory-gb", type=float, default=1.0)
    options = parser.parse_args(arguments)

    from backtest.costs import Costs
    from backtest.simulation.portfolio import Case, simulate, simulate_cases

    prices = random_prices(options.names, options.sessions)
    sessions = prices["date"].unique().sort().to_list()
    levels = [
        Costs(round_trip_bps=5.0 * i, impact_coefficient=50, borrow_bps_per_year=50, aum=1e6)
        for i in range(options.costs)
    ]
    small = prices.filter(pl.col("ticker").is_in(["T000", "T001"]))
    rows = []
    first = _weights(small, sessions[20:60:20], 0.5)
    started = _now()
    importlib.import_module("vectorbt")  # what the first simulation of a process does itself
    rows.append(["import of the simulator", None, *_since(started), None])
    started = _now()
    simulate(first, small, costs=levels[-1])
    rows.append(["first simulation after import", 1, *_since(started), None])
    for rebalance in options.rebalance:
        dates = TradingCalendar("XNYS").rebalances(sessions[0], sessions[-1], rebalance)
        books = [
            _weights(prices, dates, 0.05 + 0.4 * i / options.parameters)
            for i in range(options.parameters)
        ]
        cases = [Case(book, costs) for book, costs in itertools.product(books, levels)]
        started = _now()
        simulate_cases(cases, prices, memory_gb=options.memory_gb, keep_trades=False)
        rows.append([f"{rebalance} rebalance", len(cases), *_since(started), peak_memory_gb()])
    size = f"{options.names} names × {options.sessions} sessions"
    return BenchResult(
        "simulation",
        ["case", "combinations", "seconds", "CPU seconds", "peak memory GB"],
        rows,
        [
            f"{size}, long/short quantiles of random scores; {options.parameters} quantiles × "
            f"{options.costs} costs; memory is the whole process's peak so far"
        ],
    )


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(started: tuple[float, float]) -> tuple[float, float]:
    """Seconds by the clock and of this process's processors."""
    return time.perf_counter() - started[0], time.process_time() - started[1]


def random_prices(names: int, sessions: int, *, seed: int = 0) -> pl.DataFrame:
    """date, ticker, open, close, amount of geometric random walks on exchange sessions."""
    rng = np.random.default_rng(seed)
    days = TradingCalendar("XNYS").sessions(date(2010, 1, 4), date(2024, 12, 31))[:sessions]
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.015, (len(days), names)), axis=0))
    opened = close * np.exp(rng.normal(0, 0.005, close.shape))
    return pl.DataFrame(
        {
            "date": np.repeat(np.array(days, dtype="datetime64[D]"), names),
            "ticker": [f"T{i:03d}" for i in range(names)] * len(days),
            "open": opened.ravel(),
            "close": close.ravel(),
            "amount": rng.uniform(1e6, 1e8, close.size),
        }
    )


def _weights(prices: pl.DataFrame, dates: list[date], quantile: float) -> pl.DataFrame:
    chosen = prices.filter(pl.col("date").is_in(dates))
    rng = np.random.default_rng(1)
    scores = chosen.select(
        asof="date",
        ticker="ticker",
        horizon=pl.lit(20, dtype=pl.Int32),
        score=pl.Series(rng.normal(size=chosen.height)),
    )
    return build_strategy("long_short_quantile", quantile=quantile).weights(scores)

"""How long judging takes: 500 names, 2,500 daily dates, three horizons, 1,000 bootstrap draws."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import date
from typing import TypeVar

import numpy as np
import polars as pl

from backtest.costs import Costs
from backtest.gates import GateRules, evaluate_gates, parse_gate_rules
from backtest.judge import judge
from backtest.judgement import (
    FactorColumns,
    JudgedMarket,
    Judgement,
    JudgingRules,
    TargetPortfolio,
)
from engine.bench.result import BenchResult, peak_memory_gb
from engine.calendar import TradingCalendar
from engine.config import Settings
from engine.config.load import CONFIGS
from engine.yaml_file import read_yaml

__all__ = ["SUMMARY", "run"]

SUMMARY = "judging: RankIC, intervals, costs, churn, regimes, decay, portfolio; beside alphalens"
HORIZONS = (5, 10, 20)
FACTORS = tuple(Settings().features)
T = TypeVar("T")
_START = date(2010, 1, 4)


def run(arguments: list[str]) -> BenchResult:
    """`--names`, `--dates`, `--draws`, `--rebalance`, `--without-libraries`."""
    parser = argparse.ArgumentParser(prog="engine.bench judging_statistics", allow_abbrev=False)
    parser.add_argument("--names", type=int, default=500)
    parser.add_argument("--dates", type=int, default=2500)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--without-libraries", action="store_true")
    asked = parser.parse_args(arguments)
    panel, prices, sessions = make_panel(asked.names, asked.dates)
    weights = _weights(panel)
    # A first small judgement loads the libraries: that is start-up, not judging.
    small, small_prices, few = make_panel(100, 40)
    _judge(small, _weights(small), small_prices, few, 10)

    def whole() -> Judgement:
        return _judge(panel, weights, prices, sessions, asked.draws)

    judged, spent = _timed(whole)
    rules = _rules()
    _, gates = _timed(lambda: evaluate_gates(judged, rules=rules, training_period="none"))
    _, without = _timed(lambda: _judge(panel, weights.clear(), prices, sessions, asked.draws))
    size = f"{asked.names} × {asked.dates} × {len(HORIZONS)}"
    work = f"judge + gates, {size}, {len(FACTORS)} factors, {asked.draws} draws"
    rows = [
        [work, spent[0] + gates[0], spent[1] + gates[1]],
        ["the same without the portfolio simulation", *without],
    ]
    if not asked.without_libraries:
        rows += _libraries(panel.filter(pl.col("horizon") == HORIZONS[0]))
    notes = [
        f"peak memory {peak_memory_gb():.1f} GB",
        "alphalens: RankIC and quantile returns of one horizon, all dates; ours beside it is the "
        "same work on the same rows",
    ]
    return BenchResult("judging_statistics", ["work", "seconds", "CPU seconds"], rows, notes)


def make_panel(
    names: int, dates: int, *, seed: int = 0
) -> tuple[pl.DataFrame, pl.DataFrame, list[date]]:
    """Panel, prices and sessions of a random market with random scores, daily asofs."""
    rng = np.random.default_rng(seed)
    sessions = TradingCalendar("XNYS").sessions(_START, date(2059, 1, 1))[: dates + max(HORIZONS)]
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (len(sessions), names)), axis=0))
    opened = close * np.exp(rng.normal(0, 0.005, close.shape))
    tickers = pl.Series([f"T{k:04d}" for k in range(names)])
    days = pl.Series(sessions, dtype=pl.Date)
    index = np.arange(names * len(sessions))
    prices = pl.DataFrame(
        {
            "date": days.gather(index // names),
            "ticker": tickers.gather(index % names),
            "open": opened.ravel(),
            "close": close.ravel(),
            "amount": rng.uniform(1e7, 1e8, close.size),
        }
    )
    size, cell = dates * names, np.arange(dates * names)
    shared = {
        "asof": days.gather(cell // names),
        "ticker": tickers.gather(cell % names),
        "fold": days.gather(cell // names).dt.strftime("%Y-%m"),
        "volatility_regime": pl.Series(["low", "mid", "high"]).gather(cell // names // 90 % 3),
        "trend_regime": pl.Series(["bull", "bear"]).gather(cell // names // 40 % 2),
        **{name: rng.normal(size=size) for name in FACTORS},
    }
    parts = []
    for horizon in HORIZONS:
        ahead = close[horizon : horizon + dates]
        label, opening = ahead / close[:dates] - 1, ahead / opened[1 : dates + 1] - 1
        parts.append(
            pl.DataFrame(
                {
                    **shared,
                    "horizon": np.full(size, horizon, dtype=np.int32),
                    "score": rng.normal(0, 0.02, size),
                    "status": np.repeat("ok", size),
                    "label": (label - label.mean(axis=1, keepdims=True)).ravel(),
                    "label_next_open": (opening - opening.mean(axis=1, keepdims=True)).ravel(),
                    "total_return": label.ravel(),
                    "mature": np.ones(size, dtype=bool),
                }
            )
        )
    return pl.concat(parts).sort("asof", "ticker", "horizon"), prices, sessions


def _weights(panel: pl.DataFrame) -> pl.DataFrame:
    """Fifty names long and fifty short, once a month."""
    longest = panel.filter(pl.col("horizon") == max(HORIZONS))
    last = longest.group_by("fold").agg(pl.col("asof").max())["asof"]
    place = pl.col("score").rank("ordinal").over("asof")
    side = pl.when(place <= 50).then(-0.01).when(place > pl.len().over("asof") - 50).then(0.01)
    return (
        longest.filter(pl.col("asof").is_in(last.implode()))
        .select("asof", "ticker", weight=side)
        .drop_nulls("weight")
    )


def _judge(
    panel: pl.DataFrame, weights: pl.DataFrame, prices: pl.DataFrame, sessions: list[date], n: int
) -> Judgement:
    costs = Costs(round_trip_bps=10, impact_coefficient=50, borrow_bps_per_year=50, aum=1e6)
    regimes = _rules().regimes
    rules = JudgingRules(
        min_cross_section=10,
        top_k=10,
        regime_min_dates=regimes.min_dates,
        regime_min_names=regimes.min_names,
        factors=FactorColumns(baselines=("momentum_12m", "reversal_5"), shown=FACTORS),
        price_forecasts=True,
        draws=n,
    )
    portfolio = TargetPortfolio(weights, costs, "long_short_quantile")
    return judge(panel, portfolio, JudgedMarket(prices, tuple(sessions)), rules)


def _rules() -> GateRules:
    path = CONFIGS / "gates.yaml"
    return parse_gate_rules(read_yaml(path), source=str(path))


def _libraries(panel: pl.DataFrame) -> list[list[object]]:
    """The same RankIC and quantile returns by alphalens-reloaded and by us."""
    import warnings

    from backtest.statistics.ic import rank_ic_frame
    from backtest.statistics.quantiles import quantile_returns

    def ours() -> None:
        quantile_returns(panel, rank_ic_frame(panel, min_cross_section=10))

    rows: list[list[object]] = [
        ["ours: RankIC and quantile returns, one horizon", *_timed(ours)[1]]
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import alphalens

        data = (
            panel.select("asof", "ticker", "score", "label")
            .to_pandas()
            .rename(columns={"asof": "date", "ticker": "asset", "score": "factor", "label": "5D"})
        )
        data["date"] = data["date"].astype("datetime64[ns]")
        data = data.set_index(["date", "asset"])

        def theirs() -> None:
            quantiles = alphalens.utils.quantize_factor(data, quantiles=5)
            frame = data.assign(factor_quantile=quantiles)
            alphalens.performance.factor_information_coefficient(frame)
            alphalens.performance.mean_return_by_quantile(frame, demeaned=False)

        return [*rows, ["alphalens-reloaded: the same", *_timed(theirs)[1]]]


def _timed(work: Callable[[], T]) -> tuple[T, tuple[float, float]]:
    """The result, and wall-clock and CPU seconds (of all threads)."""
    started, used = time.perf_counter(), time.process_time()
    done = work()
    return done, (time.perf_counter() - started, time.process_time() - used)

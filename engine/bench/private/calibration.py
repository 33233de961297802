"""Do the gates hold what they promise? Pass rates and interval coverage in simulated worlds.

Each world is a market in which nothing can be predicted; scores of known skill are judged in it by
`backtest.judge` and `backtest.gates`, beside a LightGBM baseline trained in the same world. Only
the portfolio is not simulated: no gate looks at it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console

from backtest.costs import Costs
from backtest.gates import GateRules, evaluate_gates, parse_gate_rules
from backtest.judge import judge
from backtest.judgement import FactorColumns, JudgedMarket, JudgingRules, TargetPortfolio
from backtest.statistics.ic import information_coefficient
from engine.bench.private.worlds import SKILL, World, make_world, scores_of
from engine.bench.result import BenchResult
from engine.command import make_console
from engine.config import Settings
from engine.config.load import CONFIGS
from engine.config.settings import BaselineSettings, LightGBMSettings, RunSettings, ScoringSettings
from engine.progress import WorkProgress
from engine.yaml_file import read_yaml

__all__ = ["SUMMARY", "calibrate", "end_with_parent", "run", "table"]

SUMMARY = "gate pass rates and interval coverage in simulated worlds with scores of known skill"
GATES = ("factor", "ml", "practical")
TRUTH = {
    "independent": 0.0,
    "persistent": 0.0,
    "planted": SKILL,
    "inverted": -SKILL,
    "foresight": 1.0,
}
FORESIGHT_EVERY = 10
# Half of the trees that ship at twice the rate: a rival that finds nothing either way, sooner.
TREES, LEARNING_RATE = 50, 0.1
Baseline = Callable[[World], pl.DataFrame]
Size = Mapping[str, int]


def run(arguments: list[str]) -> BenchResult:
    """`--worlds`, `--names`, `--years`, `--draws`, `--top-k`, `--workers`, `--first` (seed)."""
    parser = argparse.ArgumentParser(prog="engine.bench calibration", allow_abbrev=False)
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--names", type=int, default=100)
    parser.add_argument("--years", type=int, default=5)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--top-k", type=int, default=20)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args(arguments)
    started = time.perf_counter()
    size = {"names": asked.names, "years": asked.years, "draws": asked.draws, "top_k": asked.top_k}
    found: list[dict[str, Any]] = []
    seeds = range(asked.first, asked.first + asked.worlds)
    with WorkProgress(make_console(), "calibration", asked.worlds, "worlds") as progress:
        for done, rows in enumerate(_in_processes(seeds, size, asked.workers), start=1):
            found += rows
            progress.update(done)
    minutes = (time.perf_counter() - started) / 60
    notes = [
        f"{asked.worlds} worlds of {asked.names} names and {asked.years} years, "
        f"horizons 5, 10, 20, Top-{asked.top_k}; LightGBM refitted yearly, {TREES} trees; "
        f"{minutes:.1f} minutes with {asked.workers} processes",
        "PASS and INCONCLUSIVE: share of worlds; coverage: share of ci95 that hold the true mean, "
        "by horizon; planted: expected RankIC 0.08 at each horizon, persistent scores",
        "foresight knows each label and so holds other names every month: its monthly churn is "
        "about 0.9, so gate 3 rightly fails it",
    ]
    columns, cells = table(found)
    return BenchResult("calibration", columns, cells, notes)


def calibrate(seed: int, size: Size, *, baseline: Baseline | None = None) -> list[dict[str, Any]]:
    """One row a (scores, rebalance) of a world: verdicts, means and whether ci95 holds the truth.

    `size` holds names, years, draws (of the bootstrap) and top_k; `baseline` gives asof, horizon,
    rank_ic of the rival of gate 2, LightGBM by default. Foresight, which leaves nothing to chance,
    is judged in one world of ten.
    """
    world = make_world(seed, names=size["names"], years=size["years"])
    rival = (baseline or lightgbm_rank_ic)(world)
    rules = gate_rules()
    found = []
    for name, scores in scores_of(world).items():
        if name == "foresight" and seed % FORESIGHT_EVERY:
            continue
        panel = world.panel.with_columns(score=pl.Series(scores))
        for rebalance in ("daily", "monthly"):
            if rebalance == "monthly":
                dates = world.market.calendar.rebalances(world.asofs[0], world.asofs[-1], "monthly")
                panel = panel.filter(pl.col("asof").is_in(dates))
            verdicts, horizons = _judge(world, panel, rival, rules, size)
            means = {h: figures["rank_ic_mean"] for h, figures in horizons.items()}
            covered = {
                h: figures["ci95"][0] - 1e-12 <= TRUTH[name] <= figures["ci95"][1] + 1e-12
                for h, figures in horizons.items()
            }
            found.append(
                {
                    "scores": name,
                    "rebalance": rebalance,
                    "verdicts": verdicts,
                    "rank_ic": means,
                    "covered": covered,
                }
            )
    return found


def table(found: list[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of the result: shares over worlds, in percent."""
    columns = ["scores", "rebalance", "RankIC"]
    columns += [f"{gate} PASS / INCONCLUSIVE %" for gate in GATES]
    columns += ["ci95 coverage %, 5 / 10 / 20"]
    rows = []
    for name in TRUTH:
        for rebalance in ("monthly", "daily"):
            part = [r for r in found if (r["scores"], r["rebalance"]) == (name, rebalance)]
            if not part:
                continue
            rates = [
                " / ".join(
                    f"{100 * np.mean([r['verdicts'][gate] == verdict for r in part]):.1f}"
                    for verdict in ("PASS", "INCONCLUSIVE")
                )
                for gate in GATES
            ]
            mean = float(np.mean([list(r["rank_ic"].values()) for r in part]))
            covered = " / ".join(
                f"{100 * np.mean([r['covered'][h] for r in part]):.1f}" for h in part[0]["covered"]
            )
            rows.append([name, rebalance, f"{mean:+.4f}", *rates, covered])
    return columns, rows


def gate_rules() -> GateRules:
    """The rules that ship."""
    path = CONFIGS / "gates.yaml"
    return parse_gate_rules(read_yaml(path), source=str(path))


def lightgbm_rank_ic(world: World) -> pl.DataFrame:
    """asof, horizon, rank_ic of the run's own LightGBM baseline, refitted yearly."""
    from engine.baselines import run_baseline

    rules = LightGBMSettings(
        refit="yearly",
        train_rebalance="monthly",
        min_train_rows=500,
        num_iterations=TREES,
        learning_rate=LEARNING_RATE,
    )
    settings = Settings(
        run=RunSettings(seed=world.seed),
        scoring=ScoringSettings(horizons=world.panel["horizon"].unique().sort().to_list()),
        baselines=BaselineSettings(lightgbm=rules),
    )
    with tempfile.TemporaryDirectory(prefix="calibration-") as folder:
        fitted = run_baseline(
            world.market,
            world.asofs,
            settings,
            min_names=10,
            folder=Path(folder),
            console=Console(quiet=True),
        )
    keys = ["asof", "ticker", "horizon"]
    panel = world.panel.join(fitted.predictions, on=keys, how="left")
    ic = information_coefficient(panel, min_cross_section=10, score="lightgbm")
    return ic.filter(pl.col("status") == "judged").select("asof", "horizon", "rank_ic")


def _judge(
    world: World, panel: pl.DataFrame, rival: pl.DataFrame, rules: GateRules, size: Size
) -> tuple[dict[str, str], dict[str, Any]]:
    portfolio = TargetPortfolio(
        weights=pl.DataFrame(schema={"asof": pl.Date, "ticker": pl.String, "weight": pl.Float64}),
        costs=Costs(**Settings().costs.model_dump()),
        strategy="none",
    )
    market = JudgedMarket(
        prices=world.market.bars.select("date", "ticker", "open", "close", "amount"),
        sessions=tuple(world.sessions),
    )
    judging = JudgingRules(
        min_cross_section=10,
        top_k=size["top_k"],
        regime_min_dates=rules.regimes.min_dates,
        regime_min_names=rules.regimes.min_names,
        factors=FactorColumns(baselines=()),
        describe=False,
        draws=size["draws"],
        seed=world.seed,
    )
    judged = judge(panel, portfolio, market, judging)
    gates = evaluate_gates(judged, rules=rules, training_period="none", baseline=rival)
    return {g["name"]: g["verdict"] for g in gates["gates"]}, judged.metrics["horizons"]


def _in_processes(seeds: range, size: Size, workers: int) -> Iterator[list[dict[str, Any]]]:
    """Worlds in any number of processes, in the order of their seeds."""
    if workers <= 1:
        yield from (calibrate(seed, size) for seed in seeds)
        return
    # Each process is one slot: its libraries must not start a thread a core on top.
    os.environ.update(dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS"), "1"))
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=end_with_parent
    ) as pool:
        yield from pool.map(_one, ((seed, size) for seed in seeds))


def end_with_parent() -> None:
    """Initialise a worker: without its parent it would wait for work for ever."""
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()


def _one(asked: tuple[int, Size]) -> list[dict[str, Any]]:
    seed, size = asked
    return calibrate(seed, size)

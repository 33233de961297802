"""The main job: data → scores → panel → weights → portfolio → gates → report.

1. `prepare` checks everything that can be wrong before time is spent on scores.
2. `score_decisions` fills the scores table, on Ray or from a file.
3. `decide_weights` joins features, labels, regimes and folds to the panel; the strategy turns
   scores to weights.
4. `run_baseline` trains what the score is compared with, under the same folds.
5. `judge_run` looks at the dates after the model's training period, and apart at those before.
6. `write_results` leaves the run folder, each file whole, all of them at the end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
from rich.console import Console

from backtest.costs import Costs
from backtest.gates import GateRules, parse_gate_rules
from engine.backtest.entry import check_entry
from engine.backtest.judging import DecidedRun, Prepared, judge_run
from engine.backtest.results import manifest_content, metrics_content, write_results
from engine.baselines.baseline import LightGBMBaseline, run_baseline
from engine.baselines.stage import with_baselines
from engine.calendar import TradingCalendar
from engine.config import Settings
from engine.data.market import load_market
from engine.data.membership import with_sectors
from engine.data.sources.tables import read_sectors
from engine.decisions.scores import score_decisions
from engine.decisions.strategies import GridPoint, grid_points
from engine.decisions.weights import check_strategy, decide_weights
from engine.errors import UsageError
from engine.features.factors import check_factors
from engine.forecasters.named import (
    forecaster_spec,
    named_model,
    samples_paths,
    training_period,
)
from engine.run_folder import RunFolder
from engine.yaml_file import read_yaml

__all__ = ["Backtest", "gate_rules", "run_backtest"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backtest:
    """What a finished run found, and the folder that holds it.

    Attributes
    ----------
    folder
        The run folder.
    metrics, gates, manifest
        Contents of `metrics.json`, `gates.json` and `manifest.json`.
    rules
        What the gates asked for.
    quarantined
        Windows given up while scoring.
    """

    folder: RunFolder
    metrics: dict[str, Any]
    gates: dict[str, Any]
    manifest: dict[str, Any]
    rules: GateRules
    quarantined: int


@dataclass
class _Clock:
    """Seconds of each stage, for the manifest."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        log.info("%s: started", name)
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
        log.info("%s: done in %.1f s", name, self.seconds[name])


def run_backtest(settings: Settings, console: Console) -> Backtest:
    """Run the main job. Raises UsageError for anything a user can mend, before scoring starts."""
    folder = RunFolder(settings.run.dir, settings.run.name)
    clock = _Clock()
    with clock.stage("data"):
        prepared = _prepare(settings)
    market = prepared.market
    with folder.open():
        with clock.stage("scores"):
            scored = score_decisions(
                market, settings, None, folder=folder, console=console, spec=prepared.spec
            )
        with clock.stage("panel"):
            decided = decide_weights(
                scored.scores,
                market,
                settings,
                points=prepared.points,
                trained_until=prepared.training.until,
            )
            panel = with_sectors(decided.panel, prepared.sectors)
        with clock.stage("baselines"):
            baseline = _baseline(prepared, settings, panel, folder, console)
            panel = with_baselines(panel, baseline)
        run = DecidedRun(settings, prepared, scored, replace(decided, panel=panel), baseline)
        with clock.stage("judging"):
            found = judge_run(run)
            metrics = metrics_content(run, found)
        with clock.stage("report"):
            manifest = manifest_content(run, metrics["drops"], clock.seconds)
            write_results(folder, run, found, metrics, manifest)
        manifest = {**manifest, "seconds": clock.seconds}  # with those of the report
        folder.write_json("manifest.json", manifest)
    lost = sum(scored.failed.values())
    return Backtest(folder, metrics, found.gates, manifest, prepared.rules, lost)


def _prepare(settings: Settings) -> Prepared:
    model = named_model(settings.model.name)
    points = grid_points(settings.strategy)
    _check_dispersion(settings, points)
    for point in points:
        check_strategy(point.strategy, settings)
    try:
        costs = Costs(**settings.costs.model_dump())
        rules = gate_rules(settings)
        check_factors(settings.features)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if model.kind == "fitted" and not settings.baselines.lightgbm.enabled:
        raise UsageError("model.name lightgbm needs baselines.lightgbm.enabled true")
    spec = forecaster_spec(settings.model, settings.scoring)
    training = training_period(settings.model)
    zone = TradingCalendar(settings.data.calendar).zone
    path = settings.data.sectors
    sectors = None if path is None else read_sectors(path, zone=zone)
    market = load_market(settings.data).first_tickers(settings.data.max_tickers)
    check_entry(settings, market, predicts_bars=model.predicts_bars)
    return Prepared(market, points, costs, rules, training, spec, sectors)


def _check_dispersion(settings: Settings, points: Sequence[GridPoint]) -> None:
    """A given scores file may hold any dispersion; a forecaster's is known before it scores."""
    if samples_paths(settings.model, settings.scoring):
        return
    if any(getattr(point.strategy, "needs_dispersion", False) for point in points):
        paths = settings.scoring.sampling.paths
        sampled = named_model(settings.model.name).predicts_bars
        raise UsageError(
            f"strategy.name: {settings.strategy.name} reads score_std, the dispersion of sampled "
            f"paths; it takes a Kronos model and scoring.sampling.paths of at least 2, not "
            f"{settings.model.name} with {'greedy ones' if sampled and paths > 1 else paths}"
        )


def gate_rules(settings: Settings) -> GateRules:
    """The rules of `evaluation.gates`. Raises UsageError or ValueError naming file and key."""
    path = settings.evaluation.gates
    return parse_gate_rules(read_yaml(path), source=str(path))


def _baseline(
    prepared: Prepared,
    settings: Settings,
    panel: pl.DataFrame,
    folder: RunFolder,
    console: Console,
) -> LightGBMBaseline:
    return run_baseline(
        prepared.market,
        panel["asof"].unique().sort().to_list(),
        settings,
        min_names=prepared.rules.sample.names,
        folder=folder.fits,
        console=console,
    )

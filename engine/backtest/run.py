"""The main job: data → scores → panel → weights → portfolio → gates → report.

1. `prepare` checks everything that can be wrong before time is spent on scores.
2. `score_decisions` fills the scores table, on Ray or from a file.
3. `decide_weights` joins features, labels, regimes and folds to the panel; the strategy turns
   scores to weights.
4. `run_baseline` trains what the score is compared with, under the same folds.
5. `judge` looks at the dates after the model's training period, and apart at those before.
6. `write` leaves the run folder, each file whole, all of them at the end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import yaml
from rich.console import Console

from backtest.costs import Costs
from backtest.gates import GateRules, evaluate_gates, parse_gate_rules
from backtest.judge import json_ready
from backtest.report import ReportData, write_report
from engine.backtest.attribution import attribute_result
from engine.backtest.entry import check_entry, run_entry
from engine.backtest.judging import (
    REDUNDANCY_FACTOR,
    Prepared,
    count_trials,
    judge_both,
    judged_weights,
    last_session,
)
from engine.backtest.results import manifest_content, metrics_content, report_frames
from engine.baselines.baseline import LightGBMBaseline, run_baseline
from engine.baselines.stage import baseline_rank_ic, with_baselines
from engine.config import Settings
from engine.data.market import load_market
from engine.data.membership import with_sectors
from engine.data.sources.tables import read_sectors
from engine.decisions.scores import score_decisions
from engine.decisions.strategies import GridPoint, grid_points
from engine.decisions.weights import check_strategy, decide_weights
from engine.errors import UsageError
from engine.features.factors import check_factors
from engine.files import write_frame
from engine.forecasters.named import (
    forecaster_spec,
    named_model,
    samples_paths,
    training_period,
)
from engine.run_folder import RunFolder
from engine.scoring.sanity import check_scores

__all__ = ["REDUNDANCY_FACTOR", "Backtest", "gate_rules", "run_backtest"]

log = logging.getLogger(__name__)
OPTIONAL_TABLES = ("levels", "entry_trades")


@dataclass(frozen=True)
class Backtest:
    """What a finished run found, and the folder that holds it.

    Attributes:
        folder: the run folder.
        metrics: content of `metrics.json`.
        gates: content of `gates.json`.
        manifest: content of `manifest.json`.
        rules: what the gates asked for.
        quarantined: windows given up while scoring.
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
    market, training = prepared.market, prepared.training
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
                trained_until=training.until,
            )
            panel = with_sectors(decided.panel, prepared.sectors)
            schedule, books = decided.schedule, decided.books
        with clock.stage("baselines"):
            baseline = _baseline(prepared, settings, panel, folder, console)
            panel = with_baselines(panel, baseline)
        with clock.stage("judging"):
            end = last_session(settings, market, schedule)
            weights, selected = judged_weights(prepared, settings, panel, books, schedule, end)
            judged, before = judge_both(prepared, settings, panel, weights, schedule, end)
            entry = run_entry(
                scored.levels,
                market,
                settings=settings,
                costs=prepared.costs,
                after=training.until,
                until=end,
            )
            count_trials(prepared, settings, scored, judged, selected, entry)
            attribution, daily = attribute_result(judged, market, prepared.costs)
            gates = evaluate_gates(
                judged,
                rules=prepared.rules,
                training_period=training.kind,
                baseline=baseline_rank_ic(
                    panel.filter(~pl.col("in_training")),
                    min_cross_section=settings.evaluation.min_cross_section,
                ),
            )
            metrics = metrics_content(
                settings, market, training, scored, panel, judged, before, baseline
            )
            metrics["sanity"] = check_scores(scored.scores, settings.evaluation.sanity)
            metrics["attribution"] = attribution
            if selected is not None:
                metrics["selection"] = json_ready(
                    selected.metrics(periods_per_year=market.calendar.periods_per_year)
                )
            if entry.metrics:
                metrics["entry"] = entry.metrics
            manifest = manifest_content(
                settings,
                market,
                training,
                prepared.rules,
                scored,
                metrics["drops"],
                clock.seconds,
                baseline,
            )
        with clock.stage("report"):
            data = ReportData(
                metrics=metrics,
                gates=gates,
                manifest=manifest,
                config=settings.model_dump(mode="json"),
                rules=prepared.rules,
                weights=weights,
                quarantine=market.quarantine,
                attribution=daily,
                **report_frames(judged, before),
            )
            tables = {"scores": scored.scores, "panel": panel, "weights": weights}
            tables |= {"returns": data.returns, "trades": judged.trades}
            tables |= {"levels": scored.levels, "entry_trades": entry.trades}
            _write(folder, tables, data)
        manifest["seconds"] = clock.seconds
        folder.write_json("manifest.json", manifest)
    return Backtest(folder, metrics, gates, manifest, prepared.rules, sum(scored.failed.values()))


def _prepare(settings: Settings) -> Prepared:
    model = named_model(settings.model.name)
    points = grid_points(settings.strategy)
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
    _check_dispersion(settings, points)
    training = training_period(settings.model)
    sectors = None if settings.data.sectors is None else read_sectors(settings.data.sectors)
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
    """The rules of `evaluation.gates`. Raises ValueError naming file and key."""
    path = settings.evaluation.gates
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    return parse_gate_rules(content, source=str(path))


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


def _write(folder: RunFolder, tables: Mapping[str, pl.DataFrame], data: ReportData) -> None:
    """All results at the end, so that a run that fails leaves the folder as it was.

    The old manifest goes first and the new one comes last: a folder without one is not complete.
    """
    (folder.path / "manifest.json").unlink(missing_ok=True)
    for name, frame in tables.items():
        path = folder.path / f"{name}.parquet"
        if name in OPTIONAL_TABLES and frame.is_empty():
            path.unlink(missing_ok=True)  # of an earlier run in this folder
        else:
            write_frame(path, frame)
    folder.write_yaml("config.yaml", data.config)
    folder.write_json("metrics.json", data.metrics)
    folder.write_json("gates.json", data.gates)
    write_report(folder.path, data)

"""The main job: data → scores → panel → weights → portfolio → gates → report.

1. `prepare` checks everything that can be wrong before time is spent on scores.
2. `score` fills the scores table, on Ray or from a file.
3. `build_panel` joins features, labels, regimes and folds; the strategy turns scores to weights.
4. `run_baseline` trains what the score is compared with, under the same folds.
5. `judge` looks at the dates after the model's training period, and apart at those before.
6. `write` leaves the run folder, each file whole, all of them at the end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
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
from engine.backtest.selection import GridPoint, grid_points
from engine.baselines.baseline import LightGBMBaseline
from engine.baselines.stage import (
    BASELINE_FACTORS,
    LIGHTGBM,
    baseline_rank_ic,
    baseline_scored,
    run_baseline,
    with_baselines,
)
from engine.config import Settings
from engine.data.market import Market, load_market
from engine.data.membership import with_sectors
from engine.data.sources.tables import read_sectors
from engine.decisions.dates import decision_dates, latest_dates, rebalance_dates
from engine.decisions.scores_file import PREFIX, given_scores
from engine.errors import UsageError
from engine.features.factors import check_factors
from engine.features.panel import build_panel
from engine.files import write_frame
from engine.forecasters.kronos import KronosSpec
from engine.forecasters.named import forecaster_spec, training_period
from engine.run_folder import RunFolder
from engine.scoring.sanity import check_scores
from engine.scoring.score import Scored, score_market
from strategies import Strategy

__all__ = [
    "REDUNDANCY_FACTOR",
    "SCORE_COLUMNS",
    "Backtest",
    "first_tickers",
    "gate_rules",
    "run_backtest",
    "target_weights",
]

log = logging.getLogger(__name__)
OPTIONAL_TABLES = ("levels", "entry_trades")
SCORE_COLUMNS = ("asof", "ticker", "horizon", "score", "score_std", "p_up", "q05", "q50", "q95")


@dataclass(frozen=True)
class Backtest:
    """What a finished run found, and the folder that holds it.

    Attributes:
        folder: the run folder.
        metrics: content of `metrics.json`.
        gates: content of `gates.json`.
        manifest: content of `manifest.json`.
        quarantined: windows given up while scoring.
    """

    folder: RunFolder
    metrics: dict[str, Any]
    gates: dict[str, Any]
    manifest: dict[str, Any]
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
            scored = _score(prepared, settings, folder, console)
        with clock.stage("panel"):
            panel = build_panel(
                scored.scores,
                market,
                feature_names=list(dict.fromkeys([*settings.features, *BASELINE_FACTORS])),
                horizons=settings.scoring.horizons,
                trained_until=training.until,
            ).pipe(with_sectors, prepared.sectors)
            schedule = rebalance_dates(panel["asof"], market.calendar, settings.scoring.rebalance)
            books = {
                point.label: target_weights(point.strategy, panel, settings.features, schedule)
                for point in prepared.points
            }
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
                settings, market, training, scored, metrics["drops"], clock.seconds, baseline
            )
        with clock.stage("report"):
            data = ReportData(
                metrics=metrics,
                gates=gates,
                manifest=manifest,
                config=settings.model_dump(mode="json"),
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
    return Backtest(folder, metrics, gates, manifest, sum(scored.failed.values()))


def _prepare(settings: Settings) -> Prepared:
    try:
        points = grid_points(settings.strategy)
        for point in points:
            point.strategy.weights(_no_scores(settings))
        costs = Costs(**settings.costs.model_dump())
        rules = gate_rules(settings)
        check_factors(settings.features)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if settings.model.name == LIGHTGBM and not settings.baselines.lightgbm.enabled:
        raise UsageError("model.name lightgbm needs baselines.lightgbm.enabled true")
    without_windows = settings.model.name == LIGHTGBM or settings.model.name.startswith(PREFIX)
    spec = None if without_windows else forecaster_spec(settings.model, settings.scoring)
    _check_dispersion(settings, points, sampled=isinstance(spec, KronosSpec))
    training = training_period(settings.model)
    sectors = None if settings.data.sectors is None else read_sectors(settings.data.sectors)
    market = first_tickers(load_market(settings.data), settings.data.max_tickers)
    check_entry(settings, market, predicts_bars=isinstance(spec, KronosSpec))
    return Prepared(market, points, costs, rules, training, spec, sectors)


def first_tickers(market: Market, tickers: int | None) -> Market:
    """The market of its first tickers by name: a choice that knows no future."""
    if tickers is None or len(market.tickers) <= tickers:
        return market
    kept = market.bars.filter(pl.col("ticker").is_in(market.tickers[:tickers]))
    return replace(market, bars=kept)


def _no_scores(settings: Settings) -> pl.DataFrame:
    """The frame a strategy will see, all scores missing: it refuses what it cannot work with
    before hours are spent on scoring."""
    horizons = settings.scoring.horizons
    numbers = [*SCORE_COLUMNS[3:], *settings.features]
    return pl.DataFrame(
        {"asof": date(2000, 1, 3), "ticker": "", "horizon": pl.Series(horizons, dtype=pl.Int32)}
    ).with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in numbers)


def _check_dispersion(settings: Settings, points: Sequence[GridPoint], *, sampled: bool) -> None:
    """A given scores file may hold any dispersion; a forecaster's is known before it scores."""
    sampling, name = settings.scoring.sampling, settings.model.name
    greedy = sampling.temperature == 0 or sampling.top_k == 1
    if name.startswith(PREFIX) or (sampled and sampling.paths > 1 and not greedy):
        return
    if any(getattr(point.strategy, "needs_dispersion", False) for point in points):
        raise UsageError(
            f"strategy.name: {settings.strategy.name} reads score_std, the dispersion of sampled "
            f"paths; it takes a Kronos model and scoring.sampling.paths of at least 2, not "
            f"{name} with {'greedy ones' if greedy and sampled else sampling.paths}"
        )


def gate_rules(settings: Settings) -> GateRules:
    """The rules of `evaluation.gates`. Raises ValueError naming file and key."""
    path = settings.evaluation.gates
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    return parse_gate_rules(content, source=str(path))


def _score(prepared: Prepared, settings: Settings, folder: RunFolder, console: Console) -> Scored:
    market, scoring = prepared.market, settings.scoring
    if settings.model.name.startswith(PREFIX):
        return given_scores(
            settings.model.name, market, settings.evaluation, horizons=scoring.horizons
        )
    asofs = decision_dates(
        market.bars,
        market.calendar,
        settings.evaluation,
        rebalance=scoring.rebalance,
        lookback=scoring.lookback,
    )
    longest = max(scoring.horizons)
    try:
        market.calendar.offset(asofs[-1], longest)
    except UsageError as error:
        raise UsageError(f"scoring.horizons: {error}") from None
    asofs = latest_dates(
        asofs,
        settings.evaluation.max_dates,
        market.calendar,
        last=market.last_session,
        horizon=longest,
    )
    if prepared.spec is None:
        return _score_lightgbm(prepared, settings, asofs, folder, console)
    return score_market(
        market.bars,
        market.calendar,
        asofs,
        spec=prepared.spec,
        scoring=scoring,
        seed=settings.run.seed,
        shards=folder.shards,
        console=console,
        members=market.members,
    )


def _score_lightgbm(
    prepared: Prepared,
    settings: Settings,
    asofs: Sequence[date],
    folder: RunFolder,
    console: Console,
) -> Scored:
    baseline = run_baseline(
        prepared.market,
        asofs,
        settings,
        min_names=settings.evaluation.min_cross_section,
        folder=folder,
        console=console,
    )
    return baseline_scored(baseline, prepared.market, asofs)


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
        folder=folder,
        console=console,
    )


def target_weights(
    strategy: Strategy, panel: pl.DataFrame, features: Sequence[str], schedule: Sequence[date]
) -> pl.DataFrame:
    """Weights at the dates of `schedule` from the panel's scores and features, of nothing else.

    Raises UsageError for scores that the strategy cannot work with.
    """
    frame = panel.filter(pl.col("status") == "ok", pl.col("asof").is_in(list(schedule)))
    try:
        return strategy.weights(frame.select(*SCORE_COLUMNS, *features))
    except ValueError as error:
        raise UsageError(str(error)) from None


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

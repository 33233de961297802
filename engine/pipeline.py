"""The main job: data → scores → panel → weights → portfolio → gates → report.

1. `prepare` checks everything that can be wrong before time is spent on scores.
2. `score` fills the scores table, on Ray or from a file.
3. `build_panel` joins features, labels, regimes and folds; the strategy turns scores to weights.
4. `judge` looks at the dates after the model's training period, and apart at those before.
5. `write` leaves the run folder, each file whole.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import polars as pl
import yaml
from rich.console import Console

from backtest.costs import Costs
from backtest.gates import GateRules, evaluate_gates, parse_gate_rules
from backtest.judge import Judgement, judge
from backtest.report import ReportData, write_report
from engine.config import Settings
from engine.data.market import Market, load_market
from engine.decisions import decision_dates
from engine.errors import UsageError
from engine.features.factors import compute_features
from engine.features.panel import build_panel
from engine.files import write_frame
from engine.run_folder import RunFolder, environment_facts
from engine.scoring.forecaster import ForecasterSpec
from engine.scoring.score import Scored, score_market
from engine.scoring.scores_file import PREFIX, read_scores
from engine.scoring.spec import TrainingPeriod, forecaster_spec, training_period
from strategies import Strategy, build_strategy

__all__ = ["Backtest", "run_backtest"]

log = logging.getLogger(__name__)
REDUNDANCY_FACTOR = "momentum_12m"
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


@dataclass(frozen=True)
class _Prepared:
    market: Market
    strategy: Strategy
    costs: Costs
    rules: GateRules
    training: TrainingPeriod
    spec: ForecasterSpec | None


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
    with folder.open():
        with clock.stage("scores"):
            scored = _score(prepared, settings, folder, console)
            write_frame(folder.path / "scores.parquet", scored.scores)
        with clock.stage("panel"):
            panel = build_panel(
                scored.scores,
                prepared.market,
                feature_names=list(dict.fromkeys([*settings.features, REDUNDANCY_FACTOR])),
                horizons=settings.scoring.horizons,
                trained_until=prepared.training.until,
            )
            write_frame(folder.path / "panel.parquet", panel)
            weights = _weights(prepared.strategy, panel, settings.features)
            write_frame(folder.path / "weights.parquet", weights)
        with clock.stage("judging"):
            judged, before = _judge_both(prepared, settings, panel, weights)
            gates = evaluate_gates(
                judged, rules=prepared.rules, training_period=prepared.training.kind
            )
            metrics = _metrics(prepared, settings, scored, panel, judged, before)
        manifest = _manifest(prepared, settings, scored, clock)
        with clock.stage("report"):
            config = folder.write_config(settings)
            folder.write_json("metrics.json", metrics)
            folder.write_json("gates.json", gates)
            folder.write_json("manifest.json", manifest)
            write_report(
                folder.path,
                ReportData(
                    metrics=metrics,
                    gates=gates,
                    manifest=manifest,
                    config=config,
                    weights=weights,
                    quarantine=prepared.market.quarantine,
                    **_frames(judged, before),
                ),
            )
        folder.write_json("manifest.json", manifest | {"seconds": clock.seconds})
    return Backtest(folder, metrics, gates, manifest, sum(scored.failed.values()))


def _prepare(settings: Settings) -> _Prepared:
    try:
        strategy = build_strategy(settings.strategy.name, **settings.strategy.parameters)
        costs = Costs(**settings.costs.model_dump())
        rules = _gate_rules(settings)
    except ValueError as error:
        raise UsageError(str(error)) from None
    scores_given = settings.model.name.startswith(PREFIX)
    spec = None if scores_given else forecaster_spec(settings.model, settings.scoring)
    training = training_period(settings.model)
    market = load_market(settings.data)
    compute_features(market.bars.clear(), settings.features)  # raises on an unknown factor
    return _Prepared(market, strategy, costs, rules, training, spec)


def _gate_rules(settings: Settings) -> GateRules:
    path = settings.evaluation.gates
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    return parse_gate_rules(content, source=str(path))


def _score(prepared: _Prepared, settings: Settings, folder: RunFolder, console: Console) -> Scored:
    market, scoring = prepared.market, settings.scoring
    if prepared.spec is None:
        return _given_scores(settings, market)
    asofs = decision_dates(
        market.bars,
        market.calendar,
        settings.evaluation,
        rebalance=scoring.rebalance,
        lookback=scoring.lookback,
    )
    return score_market(
        market.bars,
        market.calendar,
        asofs,
        spec=prepared.spec,
        scoring=scoring,
        seed=settings.run.seed,
        shards=folder.shards,
        console=console,
    )


def _given_scores(settings: Settings, market: Market) -> Scored:
    scores = read_scores(settings.model.name, settings.scoring.horizons)
    first, last = settings.evaluation.start, settings.evaluation.end
    scores = scores.filter(
        pl.col("asof") >= first if first else True, pl.col("asof") <= last if last else True
    )
    known = pl.col("ticker").is_in(market.tickers) & pl.col("asof").is_between(
        market.bars["date"].min(), market.bars["date"].max()
    )
    foreign = scores.filter(~known).height
    scores = scores.filter(known)
    if scores.is_empty():
        raise UsageError(
            f"{settings.model.name.removeprefix(PREFIX)}: no score belongs to a ticker and date "
            "of the data within evaluation.start and evaluation.end"
        )
    outside = {"score of a ticker or date that the data lack": foreign} if foreign else {}
    return Scored(scores, "", {"forecaster": settings.model.name}, {}, outside, {})


def _weights(strategy: Strategy, panel: pl.DataFrame, features: Sequence[str]) -> pl.DataFrame:
    frame = panel.filter(status="ok").select(*SCORE_COLUMNS, *features)
    return strategy.weights(frame)


def _judge_both(
    prepared: _Prepared, settings: Settings, panel: pl.DataFrame, weights: pl.DataFrame
) -> tuple[Judgement, Judgement | None]:
    """Dates after the model's training period, and those before, each with its own portfolio."""
    market, until = prepared.market, prepared.training.until
    end = min(settings.evaluation.end or market.last_session, market.last_session)
    after = panel.filter(~pl.col("in_training"))
    before = panel.filter("in_training")
    judged = _judge(prepared, settings, after, weights, end)
    if before.is_empty() or until is None:
        return judged, None
    return judged, _judge(prepared, settings, before, weights, min(end, until))


def _judge(
    prepared: _Prepared,
    settings: Settings,
    panel: pl.DataFrame,
    weights: pl.DataFrame,
    until: date,
) -> Judgement:
    market = prepared.market
    first, last = market.bars["date"].min(), market.last_session
    assert isinstance(first, date)
    momentum = [name for name in settings.features if name.startswith("momentum")]
    return judge(
        panel,
        weights,
        market.adjusted().select("date", "ticker", "open", "close", "amount"),
        sessions=market.calendar.sessions(first, last),
        costs=prepared.costs,
        until=until,
        strategy=settings.strategy.name,
        min_cross_section=settings.evaluation.min_cross_section,
        top_k=settings.evaluation.top_k,
        periods_per_year=market.calendar.periods_per_year,
        benchmark=market.benchmark,
        baselines=momentum,
        redundancy_factor=REDUNDANCY_FACTOR,
        rules=prepared.rules,
        seed=settings.run.seed,
    )


def _metrics(
    prepared: _Prepared,
    settings: Settings,
    scored: Scored,
    panel: pl.DataFrame,
    judged: Judgement,
    before: Judgement | None,
) -> dict[str, Any]:
    until = prepared.training.until
    asofs = scored.scores["asof"]
    training = None
    if before is not None:
        training = {
            "horizons": before.metrics["horizons"],
            "portfolio": before.metrics["portfolio"],
            "first_asof": _iso(before.first_asof),
            "last_asof": _iso(before.last_asof),
        }
    return {
        "version": 1,
        "run": {
            "name": settings.run.name,
            "model": settings.model.name,
            "trained_until": _iso(until),
            "training_period": prepared.training.kind,
            "first_asof": _iso(asofs.min()),
            "last_asof": _iso(asofs.max()),
            "n_asofs": asofs.n_unique(),
            "n_tickers": scored.scores["ticker"].n_unique(),
            "rebalance": settings.scoring.rebalance,
            "benchmark": settings.data.benchmark,
            "k": judged.metrics["churn"].get("k"),
        },
        **judged.metrics,
        "in_training": training,
        "drops": _drops(prepared.market, scored, panel),
        "flags": _flags(panel, judged, before),
    }


def _drops(market: Market, scored: Scored, panel: pl.DataFrame) -> dict[str, int]:
    """Every row left out anywhere, by reason."""
    ok = pl.col("status") == "ok"
    counts = {
        **market.drops,
        **{f"window skipped: {reason}": n for reason, n in scored.skipped.items()},
        **{f"window failed: {reason}": n for reason, n in scored.failed.items()},
        "label not mature at the last bar": panel.filter(ok & ~pl.col("mature")).height,
        "label missing": panel.filter(ok & pl.col("mature") & pl.col("label").is_null()).height,
    }
    return {reason: n for reason, n in counts.items() if n}


FLAGS = {
    "delisted": "positions sold at the last price after ten sessions without a bar",
    "no_open": "orders that lapsed: no open on the fill session",
    "ruined": "portfolios that lost everything",
}


def _flags(panel: pl.DataFrame, judged: Judgement, before: Judgement | None) -> dict[str, int]:
    """What was kept although something about it is unusual."""
    labels = panel.drop_nulls("label_flag")["label_flag"].value_counts().sort("label_flag")
    counts = {f"labels with flag '{flag}'": n for flag, n in labels.iter_rows()}
    for part in (judged, before):
        for flag in part.flags["flag"] if part else ():
            counts[FLAGS[flag]] = counts.get(FLAGS[flag], 0) + 1
    return counts


def _manifest(
    prepared: _Prepared, settings: Settings, scored: Scored, clock: _Clock
) -> dict[str, Any]:
    counts = {"shards_reused": 0, "shards_computed": 0, **scored.counts}
    return {
        "version": 1,
        "name": settings.run.name,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **environment_facts(),
        "model": settings.model.name,
        "trained_until": _iso(prepared.training.until),
        "score_fingerprint": scored.fingerprint,
        "score_identity": scored.identity,
        "data_hash": prepared.market.data_hash,
        "seed": settings.run.seed,
        **counts,
        "skipped": scored.skipped,
        "failed": scored.failed,
        "quarantined_rows": prepared.market.quarantine.height,
        "drops": prepared.market.drops,
        "seconds": dict(clock.seconds),
    }


def _frames(judged: Judgement, before: Judgement | None) -> Mapping[str, pl.DataFrame]:
    """The report's frames: both sets of dates, told apart by `in_training`."""
    return {
        name: pl.concat(
            [
                getattr(part, name).with_columns(in_training=pl.lit(inside))
                for part, inside in ((judged, False), (before, True))
                if part is not None
            ],
            how="vertical_relaxed",
        )
        for name in ("ic", "returns", "churn", "net_excess", "quantiles")
    }


def _iso(day: object) -> str | None:
    return day.isoformat() if isinstance(day, date) else None

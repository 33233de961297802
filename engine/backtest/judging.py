"""Judging a run: its weights, its portfolio on the dates that count, and what the search costs it.

1. `judged_weights` selects among the points of a grid, where there is one
2. `judge_both` looks at the dates after the model's training period, and apart at those before
3. `count_trials` records the run and all it searched, and deflates its Sharpe ratio
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import polars as pl

from backtest.costs import Costs
from backtest.gates import GateRules
from backtest.judge import Judgement, judge
from engine.backtest.entry import EntryResult
from engine.backtest.registry import Trial, deflated, record_trials, scores_hash
from engine.backtest.selection import Selection, select_weights, strategy_identity
from engine.baselines.stage import baseline_columns
from engine.config import Settings
from engine.data.market import Market
from engine.data.membership import SECTOR
from engine.decisions.dates import next_rebalance
from engine.decisions.strategies import GridPoint
from engine.forecasters.forecaster import ForecasterSpec
from engine.forecasters.named import TrainingPeriod
from engine.scoring.score import Scored

__all__ = [
    "REDUNDANCY_FACTOR",
    "Prepared",
    "count_trials",
    "judge_both",
    "judged_weights",
    "last_session",
]

REDUNDANCY_FACTOR = "momentum_12m"


@dataclass(frozen=True)
class Prepared:
    """What is known of a run before anything is scored."""

    market: Market
    points: list[GridPoint]
    costs: Costs
    rules: GateRules
    training: TrainingPeriod
    spec: ForecasterSpec | None
    sectors: pl.DataFrame | None


def last_session(settings: Settings, market: Market, schedule: Sequence[date]) -> date:
    """The last session that is simulated: until the decision after the last is held."""
    last = market.last_session
    end = min(settings.evaluation.end or last, last)
    if not schedule:
        return end
    return min(end, next_rebalance(schedule[-1], market.calendar, settings.scoring.rebalance))


def judged_weights(
    prepared: Prepared,
    settings: Settings,
    panel: pl.DataFrame,
    books: Mapping[str, pl.DataFrame],
    schedule: Sequence[date],
    end: date,
) -> tuple[pl.DataFrame, Selection | None]:
    """The weights that are judged and, of a grid, what was selected after the training period."""
    if not settings.strategy.grid:
        return next(iter(books.values())), None
    market, trained = prepared.market, prepared.training.until
    prices = market.adjusted().select("date", "ticker", "open", "close", "amount")
    held = panel.filter(pl.col("asof").is_in(list(schedule)))
    parts = []
    for inside, until in ((True, min(end, trained or end)), (False, end)):
        asofs = held.filter(pl.col("in_training") == inside)["asof"].unique().sort().to_list()
        parts.append(
            select_weights(
                books,
                prices,
                asofs,
                settings=settings,
                costs=prepared.costs,
                until=until,
                periods_per_year=market.calendar.periods_per_year,
            )
        )
    return pl.concat([part.weights for part in parts]).sort("asof", "ticker"), parts[1]


def judge_both(
    prepared: Prepared,
    settings: Settings,
    panel: pl.DataFrame,
    weights: pl.DataFrame,
    schedule: Sequence[date],
    end: date,
) -> tuple[Judgement, Judgement | None]:
    """Dates after the model's training period, and those before, each with its own portfolio."""
    trained = prepared.training.until
    after = panel.filter(~pl.col("in_training"))
    before = panel.filter("in_training")
    judged = _judge(prepared, settings, after, weights, schedule, end)
    if before.is_empty() or trained is None:
        return judged, None
    return judged, _judge(prepared, settings, before, weights, schedule, min(end, trained))


def _judge(
    prepared: Prepared,
    settings: Settings,
    panel: pl.DataFrame,
    weights: pl.DataFrame,
    schedule: Sequence[date],
    until: date,
) -> Judgement:
    market = prepared.market
    first, last = market.bars["date"].min(), market.last_session
    assert isinstance(first, date)
    panel, baselines = baseline_columns(panel, settings.features)
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
        baselines=baselines,
        redundancy_factor=REDUNDANCY_FACTOR,
        factors=settings.features,
        sector=SECTOR,
        price_forecasts=prepared.spec is not None and settings.scoring.score == "terminal",
        rebalances=schedule,
        rules=prepared.rules,
        delisted_after=settings.simulation.delisted_after,
        lot_size=settings.simulation.lot_size,
        seed=settings.run.seed,
    )


def count_trials(
    prepared: Prepared,
    settings: Settings,
    scored: Scored,
    judged: Judgement,
    selected: Selection | None,
    entry: EntryResult,
) -> None:
    """Record the run, every point of its grid and what entry strategies tried in the trial
    registry, and put the deflated Sharpe beside the Sharpe."""
    if judged.first_asof is None or judged.last_asof is None or judged.returns.is_empty():
        return
    market, scoring = prepared.market, settings.scoring
    schedule = {"rebalance": scoring.rebalance, "score": scoring.score}
    own = Trial(
        data_hash=market.data_hash,
        scores=scored.fingerprint or scores_hash(scored.scores),
        strategy=strategy_identity(settings) | schedule | {"horizons": scoring.horizons},
        costs=settings.costs.model_dump(),
        run=settings.run.name,
        first_asof=judged.first_asof,
        last_asof=judged.last_asof,
        returns=judged.returns.select("date", "net"),
    )
    searched = [
        replace(
            own,
            strategy=strategy_identity(settings, point.parameters)
            | schedule
            | {"horizons": scoring.horizons},
            returns=selected.returns[point.label],
        )
        for point in prepared.points
        if selected is not None and selected.returns[point.label].height
    ]
    searched += [
        replace(own, strategy=parameters | schedule, returns=returns)
        for parameters, returns in entry.trials
        if returns.height
    ]
    count = record_trials(settings.run.dir, [*searched, own])
    judged.metrics["portfolio"] |= deflated(
        judged.returns,
        count,
        at_least=settings.evaluation.trials,
        periods_per_year=market.calendar.periods_per_year,
    )
    for name, figures in entry.metrics.items():
        net = entry.returns.filter(pl.col("strategy") == name)
        figures["out_of_sample"] |= deflated(
            net,
            count,
            at_least=settings.evaluation.trials,
            periods_per_year=market.calendar.periods_per_year,
        )
    if count.problem:
        judged.metrics["portfolio"]["trials_problem"] = count.problem

"""Judging a run: its weights, its portfolio on the dates that count, and what the search costs it.

1. `_judged_weights` selects among the points of a grid, where there is one
2. `_judge` looks at the dates after the model's training period, and apart at those before
3. `run_entry` trades the predicted bars; `_trials` lists all that the run tried, for the registry
4. `_attribute` says where the portfolio's result came from
5. `evaluate_gates` decides
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any

import polars as pl

from backtest.costs import Costs
from backtest.gates import GateRules, evaluate_gates
from backtest.judge import json_ready, judge
from backtest.judgement import (
    FactorColumns,
    JudgedMarket,
    Judgement,
    JudgingRules,
    TargetPortfolio,
)
from backtest.simulation.attribution import attribute, attribution_figures, rolling_beta
from engine.backtest.entry import EntryResult, run_entry
from engine.backtest.registry import (
    Trial,
    TrialCount,
    record_trials,
    scores_hash,
    strategy_identity,
)
from engine.backtest.selection import Selection, select_weights
from engine.baselines.baseline import LightGBMBaseline
from engine.baselines.stage import baseline_columns, baseline_rank_ic
from engine.config import Settings
from engine.data.market import Market
from engine.data.membership import SECTOR
from engine.decisions.dates import next_rebalance
from engine.decisions.strategies import GridPoint
from engine.decisions.weights import Decisions
from engine.features.regimes import classify_regimes
from engine.forecasters.forecaster import ForecasterSpec
from engine.forecasters.named import TrainingPeriod
from engine.scoring.score import Scored

__all__ = ["DecidedRun", "Prepared", "RunJudgement", "judge_run"]


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


@dataclass(frozen=True)
class DecidedRun:
    """A run whose weights are decided: what judging starts from.

    Attributes
    ----------
    settings, prepared, scored, baseline
        Of the run.
    decisions
        The panel with sectors and LightGBM beside the scores, the schedule, and the weights of
        every point of the grid.
    """

    settings: Settings
    prepared: Prepared
    scored: Scored
    decisions: Decisions
    baseline: LightGBMBaseline

    @property
    def panel(self) -> pl.DataFrame:
        """Scores, features, labels, regime, fold, sector, LightGBM."""
        return self.decisions.panel

    @property
    def periods_per_year(self) -> int:
        """Of the market's calendar."""
        return self.prepared.market.calendar.periods_per_year

    @cached_property
    def market(self) -> JudgedMarket:
        """The run's market as judging sees it."""
        market = self.prepared.market
        first = market.bars["date"].min()
        assert isinstance(first, date)
        return JudgedMarket(
            prices=market.adjusted().select("date", "ticker", "open", "close", "amount"),
            sessions=tuple(market.calendar.sessions(first, market.last_session)),
            benchmark=market.benchmark,
            periods_per_year=self.periods_per_year,
        )

    @property
    def end(self) -> date:
        """The last session that is simulated: until the decision after the last is held."""
        market, schedule = self.prepared.market, self.decisions.schedule
        end = min(self.settings.evaluation.end or market.last_session, market.last_session)
        if not schedule:
            return end
        rebalance = self.settings.scoring.rebalance
        return min(end, next_rebalance(schedule[-1], market.calendar, rebalance))


@dataclass(frozen=True)
class RunJudgement:
    """Everything that was found out about a run.

    Attributes
    ----------
    weights
        asof, ticker, weight: what was judged.
    after, before
        The dates after the model's training period, and those in it (None without any).
    selection
        Of a grid, what was selected after the training period.
    entry
        What entry strategies made of the predicted bars.
    trials
        The run among its trials; None where nothing was traded.
    attribution, attributed_days
        `metrics["attribution"]`, and date, long, short, cost, long_exposure, short_exposure,
        turnover, beta (to the benchmark; null without one); empty where nothing was traded.
    gates
        Content of `gates.json`.
    """

    weights: pl.DataFrame
    after: Judgement
    before: Judgement | None
    selection: Selection | None
    entry: EntryResult
    trials: TrialCount | None
    attribution: dict[str, Any]
    attributed_days: pl.DataFrame
    gates: dict[str, Any]


def judge_run(run: DecidedRun) -> RunJudgement:
    """Judges a run and records it among the trials of its folder."""
    prepared, settings = run.prepared, run.settings
    trained, end = prepared.training.until, run.end
    weights, selection = _judged_weights(run)
    judged = run.panel.filter(~pl.col("in_training"))
    learned = run.panel.filter("in_training")
    after = _judge(run, judged, weights, until=end)
    before = None
    if trained is not None and not learned.is_empty():
        before = _judge(run, learned, weights, until=min(end, trained))
    entry = run_entry(
        run.scored.levels,
        prepared.market,
        settings=settings,
        costs=prepared.costs,
        after=trained,
        until=end,
    )
    trials = _trials(run, after, selection, entry)
    attribution, days = _attribute(run, after)
    smallest = settings.evaluation.min_cross_section
    return RunJudgement(
        weights=weights,
        after=after,
        before=before,
        selection=selection,
        entry=entry,
        trials=record_trials(settings.run.dir, trials) if trials else None,
        attribution=attribution,
        attributed_days=days,
        gates=evaluate_gates(
            after,
            rules=prepared.rules,
            training_period=prepared.training.kind,
            baseline=baseline_rank_ic(judged, min_cross_section=smallest),
        ),
    )


def _judged_weights(run: DecidedRun) -> tuple[pl.DataFrame, Selection | None]:
    """The weights that are judged and, of a grid, what was selected after the training period."""
    if not run.settings.strategy.grid:
        return run.decisions.weights, None
    trained, end = run.prepared.training.until, run.end
    held = run.panel.filter(pl.col("asof").is_in(run.decisions.schedule))
    parts = []
    for inside, until in ((True, min(end, trained or end)), (False, end)):
        asofs = held.filter(pl.col("in_training") == inside)["asof"].unique().sort().to_list()
        parts.append(
            select_weights(
                run.decisions.books,
                run.market.prices,
                asofs,
                settings=run.settings,
                costs=run.prepared.costs,
                until=until,
                periods_per_year=run.periods_per_year,
            )
        )
    return pl.concat([part.weights for part in parts]).sort("asof", "ticker"), parts[1]


def _judge(
    run: DecidedRun, panel: pl.DataFrame, weights: pl.DataFrame, *, until: date
) -> Judgement:
    """Some dates of the run, with a portfolio of their own."""
    settings, regimes = run.settings, run.prepared.rules.regimes
    panel, baselines = baseline_columns(panel, settings.features)
    portfolio = TargetPortfolio(
        weights=weights,
        costs=run.prepared.costs,
        strategy=settings.strategy.name,
        until=until,
        rebalances=run.decisions.schedule,
        delisted_after=settings.simulation.delisted_after,
        lot_size=settings.simulation.lot_size,
    )
    rules = JudgingRules(
        min_cross_section=settings.evaluation.min_cross_section,
        top_k=settings.evaluation.top_k,
        regime_min_dates=regimes.min_dates,
        regime_min_names=regimes.min_names,
        factors=FactorColumns(baselines=baselines, shown=settings.features, sector=SECTOR),
        price_forecasts=run.prepared.spec is not None and settings.scoring.score == "terminal",
        seed=settings.run.seed,
    )
    return judge(panel, portfolio, run.market, rules)


def _trials(
    run: DecidedRun, after: Judgement, selection: Selection | None, entry: EntryResult
) -> list[Trial]:
    """Every point of the grid, what entry strategies tried, and the run itself, last; none where
    nothing was traded."""
    if after.first_asof is None or after.last_asof is None or after.returns.is_empty():
        return []
    settings, scored = run.settings, run.scored
    schedule = {"rebalance": settings.scoring.rebalance, "score": settings.scoring.score}
    traded = schedule | {"horizons": settings.scoring.horizons}
    own = Trial(
        data_hash=run.prepared.market.data_hash,
        scores=scored.fingerprint or scores_hash(scored.scores),
        strategy=strategy_identity(settings) | traded,
        costs=settings.costs.model_dump(),
        run=settings.run.name,
        first_asof=after.first_asof,
        last_asof=after.last_asof,
        returns=after.returns.select("date", "net"),
    )
    searched: list[tuple[dict[str, Any], pl.DataFrame]] = []
    if selection is not None:
        for point in run.prepared.points:
            identity = strategy_identity(settings, point.parameters) | traded
            searched.append((identity, selection.returns[point.label]))
    searched += [(parameters | schedule, returns) for parameters, returns in entry.trials]
    tried = [replace(own, strategy=name, returns=net) for name, net in searched if net.height]
    return [*tried, own]


def _attribute(run: DecidedRun, after: Judgement) -> tuple[dict[str, Any], pl.DataFrame]:
    """`attribution` and `attributed_days` of `RunJudgement`. After ruin nothing is attributed."""
    returns, trades = after.returns, after.trades
    ruined = after.flags.filter(pl.col("flag") == "ruined")["date"].min()
    if ruined is not None:
        returns = returns.filter(pl.col("date") <= ruined)
        trades = trades.filter(pl.col("date") <= ruined)
    if trades.is_empty():
        return {}, pl.DataFrame()
    market = run.prepared.market
    found = attribute(
        trades,
        run.market.prices,
        costs=run.prepared.costs,
        sessions=returns["date"],
        regimes=classify_regimes(market, market.bars["date"].unique().to_list()).select(
            date="asof", volatility="volatility_regime", trend="trend_regime"
        ),
        periods_per_year=run.periods_per_year,
    )
    exposures = returns.select("date", "long_exposure", "short_exposure", "turnover")
    days = found.daily.join(exposures, on="date").join(rolling_beta(returns), on="date")
    return json_ready(attribution_figures(found, trades, returns, days["beta"])), days

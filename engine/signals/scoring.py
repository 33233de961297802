"""The scores of a few dates by one model, as the backtest would make them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from rich.console import Console

from engine.baselines.stage import LIGHTGBM, baseline_scored, run_baseline
from engine.config import Settings
from engine.data.market import Market
from engine.errors import UsageError
from engine.run_folder import RunFolder
from engine.scoring.factors import FACTORS
from engine.scoring.score import Scored, score_market
from engine.scoring.scores_file import PREFIX, given_scores
from engine.scoring.spec import forecaster_spec

__all__ = ["needs_a_process", "score_dates"]

EVERY_SHARD = 2**31
ONE_SHARD = 1
"""A model that is loaded for one shard is done before Ray would have started."""


def needs_a_process(model: str) -> bool:
    """Whether it loads something heavy; factors and files of scores do not."""
    return model not in FACTORS and not model.startswith(PREFIX)


def score_dates(
    settings: Settings, market: Market, dates: Sequence[date], folder: RunFolder, console: Console
) -> Scored:
    """Scores of `settings.model` at `dates`, by the functions of the main job.

    Finished shards are kept in `folder`, so that a date is scored once however often it is
    replayed. Raises UsageError for a model that cannot be found, and what scoring raises.
    """
    name, scoring = settings.model.name, settings.scoring
    if name.startswith(PREFIX):
        return _given(settings, market, dates)
    if name == LIGHTGBM:
        return _fitted(settings, market, dates, folder, console)
    return score_market(
        market.bars,
        market.calendar,
        dates,
        spec=forecaster_spec(settings.model, scoring),
        scoring=scoring,
        seed=settings.run.seed,
        shards=folder.shards,
        console=console,
        members=market.members,
        inline_shards=EVERY_SHARD if name in FACTORS else ONE_SHARD,
    )


def _given(settings: Settings, market: Market, dates: Sequence[date]) -> Scored:
    span = settings.evaluation.model_copy(update={"start": dates[0], "end": dates[-1]})
    horizons = settings.scoring.horizons
    scored = given_scores(settings.model.name, market, span, horizons=horizons)
    if dates[-1] not in scored.scores["asof"]:
        raise UsageError(f"{settings.model.name}: no score at {dates[-1]}")
    return scored


def _fitted(
    settings: Settings, market: Market, dates: Sequence[date], folder: RunFolder, console: Console
) -> Scored:
    baseline = run_baseline(
        market,
        dates,
        settings,
        min_names=settings.evaluation.min_cross_section,
        folder=folder,
        console=console,
    )
    return baseline_scored(baseline, market, dates)

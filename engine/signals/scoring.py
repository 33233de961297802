"""The scores of a few dates by one model, as the backtest would make them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import date

from rich.console import Console

from engine.baselines.stage import LIGHTGBM, baseline_scored, run_baseline
from engine.config import Settings
from engine.config.settings import ScoringSettings
from engine.data.market import Market
from engine.decisions.scores_file import PREFIX, given_scores
from engine.errors import UsageError
from engine.forecasters.named import forecaster_spec
from engine.forecasters.rules import FACTORS
from engine.run_folder import RunFolder
from engine.scoring.cluster import is_private
from engine.scoring.driver import MemoryShortageError, PoolError
from engine.scoring.score import Scored, default_actors, score_market

__all__ = ["needs_a_process", "score_dates"]

log = logging.getLogger(__name__)
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
    spec = forecaster_spec(settings.model, scoring)

    def scored(inline_shards: int) -> Scored:
        return score_market(
            market.bars,
            market.calendar,
            dates,
            spec=spec,
            scoring=scoring,
            seed=settings.run.seed,
            shards=folder.shards,
            console=console,
            members=market.members,
            inline_shards=inline_shards,
        )

    if name in FACTORS:
        return scored(EVERY_SHARD)
    try:
        return scored(_inline_shards(scoring))
    except (UsageError, MemoryShortageError, PoolError):
        raise
    except Exception as error:
        # On Ray the window that is to blame is found and set aside, or the batch made smaller.
        log.warning("scoring without Ray failed (%s); it is done on Ray", error)
        return scored(0)


def _inline_shards(scoring: ScoringSettings) -> int:
    """How many shards are scored in this process: all where there would be one actor anyway."""
    if not is_private(scoring.ray_address):
        return 0
    return EVERY_SHARD if default_actors(scoring) == 1 else ONE_SHARD


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

"""From a market and decision dates to scores: the first half of the wiring.

Every command that needs scores calls `score_decisions`: the backtest, signals and the live loop,
audits, training cards and benchmarks. What kind of model is asked for is settled here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import date
from typing import Literal

from rich.console import Console

from engine.baselines.baseline import run_baseline
from engine.baselines.stage import baseline_scored
from engine.config import Settings
from engine.config.settings import ScoringSettings
from engine.data.market import Market
from engine.decisions.dates import Span, every_decision
from engine.decisions.scores_file import given_scores
from engine.errors import UsageError
from engine.forecasters.forecaster import ForecasterSpec
from engine.forecasters.named import forecaster_spec, named_model
from engine.run_folder import RunFolder
from engine.scoring.cluster import is_private
from engine.scoring.driver import MemoryShortageError, PoolError
from engine.scoring.score import Scored, default_actors, score_market

__all__ = ["Here", "score_decisions"]

log = logging.getLogger(__name__)
EVERY_SHARD = 2**31
ONE_SHARD = 1
"""A model that is loaded for one shard is done before Ray would have started."""

Here = Literal["never", "small", "always"]
"""Whether shards are scored in this process, to the same bits: `small` where Ray would take longer
to start than the work takes."""


def score_decisions(
    market: Market,
    settings: Settings,
    dates: Sequence[date] | None,
    *,
    folder: RunFolder,
    console: Console,
    spec: ForecasterSpec | None = None,
    here: Here = "never",
) -> Scored:
    """Scores of `settings.model` for every candidate of `market` at every one of `dates`.

    Parameters
    ----------
    market
        Bars, calendar and members; nothing after a date is looked at for its scores.
    settings
        `model`, `scoring`, `run.seed` and, of LightGBM, `features` and `baselines` are read.
    dates
        Decision dates in order. None: all of the configuration, by `evaluation` and
        `scoring.rebalance`, or those of the file of ``scores:FILE``. Of such a file every date
        between the first and the last is kept: it may have a schedule of its own.
    folder
        Where finished shards and fits are kept, and found again.
    spec
        The forecaster, where the caller has found it already.
    here
        Whether shards are scored in this process and not on Ray.

    Raises
    ------
    UsageError
        A model that cannot be found, dates or horizons that cannot be scored.
    PoolError, OSError
        As :func:`engine.scoring.score.score_market`.
    """
    model = named_model(settings.model.name)
    if model.kind == "scores":
        span = settings.evaluation if dates is None else Span(dates[0], dates[-1])
        return given_scores(model.scores_path, market, span, horizons=settings.scoring.horizons)
    dates = every_decision(market, settings) if dates is None else dates
    if model.kind == "fitted":
        baseline = run_baseline(
            market,
            dates,
            settings,
            min_names=settings.evaluation.min_cross_section,
            folder=folder.fits,
            console=console,
        )
        return baseline_scored(baseline, market, dates)
    found = spec or forecaster_spec(settings.model, settings.scoring)
    assert found is not None

    def scored(inline_shards: int) -> Scored:
        return score_market(
            market,
            dates,
            spec=found,
            scoring=settings.scoring,
            seed=settings.run.seed,
            shards=folder.shards,
            console=console,
            inline_shards=inline_shards,
        )

    if here == "never":
        return scored(0)
    if here == "always" or model.is_light:
        return scored(EVERY_SHARD)
    try:
        return scored(_small_work(settings.scoring))
    except (UsageError, MemoryShortageError, PoolError):
        raise
    except Exception as error:
        # On Ray the window that is to blame is found and set aside, or the batch made smaller.
        log.warning("scoring without Ray failed (%s); it is done on Ray", error)
        return scored(0)


def _small_work(scoring: ScoringSettings) -> int:
    """How many shards are scored in this process: all where there would be one actor anyway."""
    if not is_private(scoring.ray_address):
        return 0
    return EVERY_SHARD if default_actors(scoring) == 1 else ONE_SHARD

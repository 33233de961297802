"""RankIC of the trained model's forecasts on the validation dates, judged as a backtest judges.

Scores come from `score_decisions`, labels from the panel, intervals from `backtest`. Beside the
model stand momentum and persistence, scored on the same windows.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from backtest.statistics.ic import rank_ic_frame
from backtest.statistics.significance import mean_interval, session_spacing
from engine.config import Settings
from engine.config.settings import ModelSettings, RunSettings, ScoringSettings
from engine.data.market import Market
from engine.decisions.dates import Span, decision_dates
from engine.decisions.scores import score_decisions
from engine.errors import UsageError
from engine.features.panel import build_panel
from engine.run_folder import RunFolder
from engine.train.settings import TrainSettings

__all__ = ["RankIC", "forecast_rank_ic"]

BASELINES = ("momentum", "persistence")


@dataclass(frozen=True)
class RankIC:
    """By forecaster and horizon: dates judged, mean RankIC and its 95% interval, JSON-ready.

    A forecaster whose scores are all equal, as persistence's are, has dates but no RankIC.
    """

    by_forecaster: dict[str, dict[str, dict[str, Any]]]
    asofs: int
    tickers: int
    lookback: int


def forecast_rank_ic(
    folder: Path, market: Market, span: tuple[date, date], settings: TrainSettings, console: Console
) -> RankIC:
    """Judge the checkpoint in `folder` on decision dates of `span`, both ends included.

    Bars after the span are not looked at, so labels that would need them are immature. Raises
    UsageError when the span holds no decision date.
    """
    rules = settings.validation
    # One market cut off at the end of the span: later bars mature no label.
    known = market.until(span[1])
    lookback = rules.lookback or settings.windows.longest_context
    scoring = ScoringSettings(
        lookback=lookback,
        horizons=rules.horizons,
        rebalance=rules.rebalance,
        sampling=rules.sampling,
        batch_size=64,
        actors=settings.workers.count,
        cpus_per_actor=settings.workers.cpus,
        gpus_per_actor=settings.workers.gpus,
        ray_address=settings.workers.ray_address,
    )
    asofs = decision_dates(known, Span(*span), rebalance=rules.rebalance, lookback=lookback)
    found = {}
    for name in (str(folder), *BASELINES):
        run = Settings(
            run=RunSettings(seed=settings.run.seed),
            model=ModelSettings(name=name, dependency_rope=settings.model_stage.dependency_rope),
            scoring=scoring,
        )
        with tempfile.TemporaryDirectory() as place:
            scores = score_decisions(
                known, run, asofs, folder=RunFolder(Path(place), "run"), console=console
            ).scores
        key = "model" if name == str(folder) else name
        found[key] = _judged(scores, known, scoring, rules.min_cross_section)
    return RankIC(found, len(asofs), len(known.tickers), lookback)


def _judged(
    scores: pl.DataFrame, market: Market, scoring: ScoringSettings, min_cross_section: int
) -> dict[str, dict[str, Any]]:
    panel = build_panel(
        scores, market, feature_names=[], horizons=scoring.horizons, trained_until=None
    )
    ic = rank_ic_frame(panel, min_cross_section=min_cross_section)
    first, last = panel["asof"].min(), market.last_session
    if not isinstance(first, date):
        raise UsageError("split.validation: no window could be scored in it")
    sessions = market.calendar.sessions(first, last)
    summary = {}
    for horizon in scoring.horizons:
        rows = ic.filter(pl.col("horizon") == horizon)
        judged = rows.filter(pl.col("status") == "judged").sort("asof")
        interval = mean_interval(
            judged["rank_ic"],
            horizon=horizon,
            spacing=session_spacing(judged["asof"].to_list(), sessions),
        )
        summary[str(horizon)] = {
            "n_dates": interval.n,
            "n_constant": rows.filter(pl.col("status") == "constant").height,
            "rank_ic_mean": interval.mean,
            "ci95": interval.bounds,
        }
    return summary

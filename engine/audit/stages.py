"""The run under audit, from market to weights and baseline, as functions of what they may know.

They are the run's own: `score_decisions` and `decide_weights`, as the main job calls them. Scoring
stays in this process and keeps nothing, so that no copy of the market is given another's scores.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import polars as pl
from rich.console import Console

from engine.backtest.run import gate_rules
from engine.baselines.baseline import PREDICTIONS, run_baseline
from engine.baselines.stage import BASELINE_FACTORS
from engine.config import Settings
from engine.data.market import Market
from engine.decisions.scores import score_decisions
from engine.decisions.strategies import grid_points
from engine.decisions.weights import Decisions, decide_weights
from engine.features.factors import market_features
from engine.forecasters.named import forecaster_spec, named_model
from engine.run_folder import RunFolder

__all__ = ["LABEL_COLUMNS", "Stages", "stages_of"]

LABEL_COLUMNS = (
    "label", "label_next_open", "total_return", "matures", "mature", "label_flag", "in_training",
)  # fmt: skip
"""What a panel holds that knows the future by definition."""


@dataclass(frozen=True)
class Stages:
    """The functions of a run.

    Attributes
    ----------
    market
        The market that the run sees of the loaded one.
    features
        Market → date, ticker and a column a factor, at every bar.
    scores
        Market, dates → the scores table.
    decide
        Scores, market → panel and target weights at every scored date.
    baseline
        Market, dates → asof, ticker, horizon, lightgbm: the rival trained beside the score;
        without rows where there is none, or where it is the score itself.
    """

    market: Callable[[Market], Market]
    features: Callable[[Market], pl.DataFrame]
    scores: Callable[[Market, Sequence[date]], pl.DataFrame]
    decide: Callable[[pl.DataFrame, Market], Decisions]
    baseline: Callable[[Market, Sequence[date]], pl.DataFrame]

    def replace(self, **stages: Callable[..., object]) -> Stages:
        """The same with some functions exchanged."""
        return replace(self, **stages)  # type: ignore[arg-type]


def stages_of(settings: Settings) -> Stages:
    """What a configuration runs. Raises UsageError or ValueError for what it cannot run."""
    # Of a grid its first point; that selection reads the past only has a test of its own.
    point = grid_points(settings.strategy)[0]
    names = list(dict.fromkeys([*settings.features, *BASELINE_FACTORS]))
    rules = gate_rules(settings)
    fresh = {"cache": "off", "shards": None, "ray_address": None}
    alone = settings.model_copy(update={"scoring": settings.scoring.model_copy(update=fresh)})
    spec = forecaster_spec(alone.model, alone.scoring)
    quiet = Console(quiet=True)

    def features(market: Market) -> pl.DataFrame:
        return market_features(market, names)

    def scores(market: Market, asofs: Sequence[date]) -> pl.DataFrame:
        with _empty_folder() as folder:
            scored = score_decisions(
                market, alone, asofs, folder=folder, console=quiet, spec=spec, here="always"
            )
        return scored.scores.filter(pl.col("asof").is_in(list(asofs)))

    def decide(scores: pl.DataFrame, market: Market) -> Decisions:
        asofs = scores["asof"].unique().sort().to_list()
        return decide_weights(scores, market, settings, schedule=asofs, points=[point])

    def baseline(market: Market, asofs: Sequence[date]) -> pl.DataFrame:
        if named_model(settings.model.name).kind == "fitted":
            return pl.DataFrame(schema=PREDICTIONS)
        with _empty_folder() as folder:
            return run_baseline(
                market,
                asofs,
                settings,
                min_names=rules.sample.names,
                folder=folder.fits,
                console=quiet,
            ).predictions

    return Stages(lambda market: market, features, scores, decide, baseline)


@contextmanager
def _empty_folder() -> Iterator[RunFolder]:
    with tempfile.TemporaryDirectory(prefix="audit-") as folder:
        yield RunFolder(Path(folder), "run")

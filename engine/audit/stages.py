"""The run under audit, from market to weights and baseline, as functions of what they may know.

They are the main job's own: the audit calls what `engine.backtest.run` calls. Only scoring runs in
this process and not on Ray; plan, shards, forecaster and assembly are the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path

import polars as pl
from rich.console import Console

from engine.backtest.run import gate_rules, target_weights
from engine.backtest.selection import grid_points
from engine.baselines.baseline import PREDICTIONS, LightGBMBaseline
from engine.baselines.stage import BASELINE_FACTORS, LIGHTGBM, baseline_scored, run_baseline
from engine.config import Settings
from engine.data.market import Market
from engine.data.membership import only_members
from engine.decisions.scores_file import PREFIX, given_scores
from engine.features.factors import market_features
from engine.features.panel import build_panel
from engine.forecasters.forecaster import Forecaster
from engine.forecasters.named import forecaster_spec
from engine.run_folder import RunFolder
from engine.scoring.plan import cut_shards, plan_windows
from engine.scoring.price_array import PriceArray
from engine.scoring.scores import assemble_scores

__all__ = ["LABEL_COLUMNS", "Stages", "stages_of"]

LABEL_COLUMNS = (
    "label", "label_next_open", "total_return", "matures", "mature", "label_flag", "in_training",
)  # fmt: skip
"""What a panel holds that knows the future by definition."""


@dataclass(frozen=True)
class Stages:
    """The functions of a run.

    Attributes:
        market: the market that the run sees of the loaded one.
        features: market → date, ticker and a column a factor, at every bar.
        scores: market, dates → the scores table.
        panel: scores, market → the panel.
        weights: panel → target weights.
        baseline: market, dates → asof, ticker, horizon, lightgbm: the rival trained beside the
            score; without rows where there is none, or where it is the score itself.
    """

    market: Callable[[Market], Market]
    features: Callable[[Market], pl.DataFrame]
    scores: Callable[[Market, Sequence[date]], pl.DataFrame]
    panel: Callable[[pl.DataFrame, Market], pl.DataFrame]
    weights: Callable[[pl.DataFrame], pl.DataFrame]
    baseline: Callable[[Market, Sequence[date]], pl.DataFrame]

    def replace(self, **stages: Callable[..., object]) -> Stages:
        """The same with some functions exchanged."""
        return replace(self, **stages)  # type: ignore[arg-type]


def stages_of(settings: Settings) -> Stages:
    """What a configuration runs. Raises UsageError or ValueError for what it cannot run."""
    # Of a grid its first point; that selection reads the past only has a test of its own.
    strategy = grid_points(settings.strategy)[0].strategy
    names = list(dict.fromkeys([*settings.features, *BASELINE_FACTORS]))

    def features(market: Market) -> pl.DataFrame:
        return market_features(market, names)

    def panel(scores: pl.DataFrame, market: Market) -> pl.DataFrame:
        return build_panel(
            scores,
            market,
            feature_names=names,
            horizons=settings.scoring.horizons,
            trained_until=None,
        )

    def weights(panel: pl.DataFrame) -> pl.DataFrame:
        asofs = panel["asof"].unique().to_list()
        return target_weights(strategy, panel, settings.features, asofs)

    def baseline(market: Market, asofs: Sequence[date]) -> pl.DataFrame:
        if settings.model.name == LIGHTGBM:
            return pl.DataFrame(schema=PREDICTIONS)
        return _fitted(market, asofs, settings, names=rules.sample.names).predictions

    rules = gate_rules(settings)
    return Stages(lambda market: market, features, _scoring(settings), panel, weights, baseline)


def _scoring(settings: Settings) -> Callable[[Market, Sequence[date]], pl.DataFrame]:
    if settings.model.name.startswith(PREFIX):

        def given(market: Market, asofs: Sequence[date]) -> pl.DataFrame:
            horizons = settings.scoring.horizons
            scored = given_scores(
                settings.model.name, market, settings.evaluation, horizons=horizons
            )
            return scored.scores.filter(pl.col("asof").is_in(list(asofs)))

        return given
    if settings.model.name == LIGHTGBM:

        def learned(market: Market, asofs: Sequence[date]) -> pl.DataFrame:
            names = settings.evaluation.min_cross_section
            baseline = _fitted(market, asofs, settings, names=names)
            return baseline_scored(baseline, market, asofs).scores

        return learned
    spec = forecaster_spec(settings.model, settings.scoring)

    @cache
    def forecaster() -> Forecaster:
        return spec.build(settings.scoring.cpus_per_actor)

    return lambda market, asofs: score_here(market, asofs, forecaster(), settings)


def _fitted(
    market: Market, asofs: Sequence[date], settings: Settings, *, names: int
) -> LightGBMBaseline:
    """LightGBM fitted anew on the market as it is, in a folder of its own: nothing is reused."""
    with tempfile.TemporaryDirectory(prefix="audit-fits-") as folder:
        return run_baseline(
            market,
            asofs,
            settings,
            min_names=names,
            folder=RunFolder(Path(folder), "fits"),
            console=Console(quiet=True),
        )


def score_here(
    market: Market,
    asofs: Sequence[date],
    forecaster: Forecaster,
    settings: Settings,
) -> pl.DataFrame:
    """Scores of some dates, computed in this process in the run's own shards."""
    scoring = settings.scoring
    prices = PriceArray.from_bars(market.bars)
    plan = plan_windows(
        prices,
        market.calendar,
        asofs,
        lookback=scoring.lookback,
        steps=max(scoring.horizons),
        seed=settings.run.seed,
    )
    plan = replace(plan, windows=only_members(plan.windows, market.members))
    size = max(1, scoring.batch_size // scoring.sampling.paths)
    frames = []
    for shard in cut_shards(plan, plan.planned, size):
        found = forecaster.score(shard.panel(prices, scoring.lookback), shard.asof(prices))
        keys = pl.DataFrame(
            {
                "asof": pl.Series(shard.asof(prices)).cast(pl.Date),
                "ticker": [prices.tickers[i] for i in shard.ticker_ids],
                "hash": list(shard.hashes),
            }
        )
        frames.append(keys.join(found, on=["asof", "ticker"], maintain_order="left"))
    finished = pl.concat(frames) if frames else None
    done = set() if finished is None else set(finished.select("asof", "ticker").iter_rows())
    lost = {
        (asof.isoformat(), ticker): "forecast is not finite"
        for asof, ticker in plan.planned.select("asof", "ticker").iter_rows()
        if (asof, ticker) not in done
    }
    return assemble_scores(plan, finished, lost, horizons=scoring.horizons, form=scoring.score)

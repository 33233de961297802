"""From scores to target weights: the second half of the wiring.

1. `build_panel` joins scores with features, labels, regimes and folds.
2. The strategy turns the scores and features of its rebalances into weights, and sees nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from engine.baselines.stage import BASELINE_FACTORS
from engine.config import Settings
from engine.data.market import Market
from engine.decisions.dates import rebalance_dates
from engine.decisions.strategies import GridPoint, grid_points
from engine.errors import UsageError
from engine.features.panel import build_panel
from engine.forecasters.named import samples_paths
from strategies import Strategy

__all__ = ["SCORE_COLUMNS", "Decisions", "check_strategy", "decide_weights"]

SCORE_COLUMNS = ("asof", "ticker", "horizon", "score", "score_std", "p_up", "q05", "q50", "q95")
"""What a strategy sees of the scores, beside the features."""


@dataclass(frozen=True)
class Decisions:
    """What was decided, and what it was decided on.

    Attributes
    ----------
    panel
        One row per (asof, ticker, horizon): scores, features, labels, regime, fold.
    schedule
        The asofs at which the portfolio may change, in order.
    books
        asof, ticker, weight by the label of each point of `strategy.grid`; without a grid one
        book, labelled "".
    """

    panel: pl.DataFrame
    schedule: list[date]
    books: dict[str, pl.DataFrame]

    @property
    def weights(self) -> pl.DataFrame:
        """The book of the only point, or of the grid's first."""
        return next(iter(self.books.values()))


def decide_weights(
    scores: pl.DataFrame,
    market: Market,
    settings: Settings,
    *,
    schedule: Sequence[date] | None = None,
    points: Sequence[GridPoint] | None = None,
    trained_until: date | None = None,
) -> Decisions:
    """Target weights of `settings.strategy` from `scores`, at rebalance dates only.

    Parameters
    ----------
    scores
        The scores table.
    market
        The bars that features, labels and regimes are made of.
    settings
        `features`, `strategy`, `scoring.horizons` and `scoring.rebalance` are read.
    schedule
        Dates at which the portfolio may change. None: the scored dates that are rebalances by
        the calendar (`rebalance_dates`).
    points
        Strategies that were built already; None: as `strategy` and its grid say.
    trained_until
        Marks the panel's rows that the model may have learned from; nothing is left out.

    Raises
    ------
    UsageError
        The strategy cannot be built or cannot work with these scores.
    """
    panel = build_panel(
        scores,
        market,
        feature_names=list(dict.fromkeys([*settings.features, *BASELINE_FACTORS])),
        horizons=settings.scoring.horizons,
        trained_until=trained_until,
    )
    if schedule is None:
        schedule = rebalance_dates(panel["asof"], market.calendar, settings.scoring.rebalance)
    built = grid_points(settings.strategy) if points is None else points
    seen = panel.filter(pl.col("status") == "ok", pl.col("asof").is_in(list(schedule)))
    seen = seen.select(*SCORE_COLUMNS, *settings.features)
    books = {point.label: _weights(point.strategy, seen) for point in built}
    return Decisions(panel, list(schedule), books)


def check_strategy(strategy: Strategy, settings: Settings) -> None:
    """Show the strategy a frame like the one it will get, of three made-up names on one date: it
    refuses what it cannot work with before hours are spent on scoring. Raises UsageError."""
    names = pl.DataFrame({"ticker": ["A", "B", "C"], "score": [-0.01, 0.0, 0.01]})
    horizons = pl.DataFrame({"horizon": pl.Series(settings.scoring.horizons, dtype=pl.Int32)})
    spread = 0.01 if samples_paths(settings.model, settings.scoring) else None
    frame = names.join(horizons, how="cross").with_columns(
        pl.lit(date(2000, 1, 3)).alias("asof"),
        pl.lit(spread, dtype=pl.Float64).alias("score_std"),
        pl.lit(0.5).alias("p_up"),
        *(pl.col("score").alias(name) for name in ("q05", "q50", "q95", *settings.features)),
    )
    columns = (*SCORE_COLUMNS, *settings.features)
    _weights(strategy, frame.select(columns).sort("asof", "ticker", "horizon"))


def _weights(strategy: Strategy, frame: pl.DataFrame) -> pl.DataFrame:
    try:
        return strategy.weights(frame)
    except ValueError as error:
        raise UsageError(str(error)) from None

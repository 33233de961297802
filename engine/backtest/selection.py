"""Walk-forward selection: each fold's parameters from a grid, by what was known before it.

`select_weights` simulates every point of the grid in one call, chooses one for every fold on the
returns before it, and splices the weights of the chosen points.

Dates in the model's training period and after it are selected apart: what a model did on dates it
was trained on must not choose what is judged.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from backtest.costs import Costs
from backtest.simulation.portfolio import Case, simulate_cases
from backtest.statistics.overfitting import probability_of_overfitting
from backtest.statistics.performance import sharpe
from backtest.statistics.walk_forward import choose, splice
from engine.config import Settings
from engine.config.settings import StrategySettings
from engine.decisions.strategies import grid_points

__all__ = [
    "Selection",
    "select_weights",
    "strategy_identity",
    "strategy_source",
]


@dataclass(frozen=True)
class Selection:
    """What a walk-forward selection chose.

    Attributes:
        weights: asof, ticker, weight of the chosen points.
        returns: label → date, net: the simulated returns of every point.
        choices: fold (its first asof), chosen, sharpe (null where unjudged), n_sessions.
    """

    weights: pl.DataFrame
    returns: dict[str, pl.DataFrame]
    choices: pl.DataFrame

    def metrics(self, *, periods_per_year: int) -> dict[str, Any]:
        """`metrics["selection"]`: the grid, the choices, PBO, and the best point in hindsight."""
        sharpes = {
            label: sharpe(frame["net"].to_numpy(), periods_per_year=periods_per_year)
            for label, frame in self.returns.items()
        }
        known = {label: value for label, value in sharpes.items() if value is not None}
        best = max(known, key=lambda label: known[label]) if known else None
        return {
            "n_points": len(self.returns),
            "choices": [
                {**row, "fold": row["fold"].isoformat()} for row in self.choices.to_dicts()
            ],
            "overfitting_probability": self._overfitting(),
            "in_sample_best": {"chosen": best, "sharpe_net": known.get(best) if best else None},
        }

    def _overfitting(self) -> float | None:
        """Over the sessions on which every point was invested or could have been."""
        frames = list(self.returns.values())
        if not frames or any(frame.is_empty() for frame in frames):
            return None
        common = set.intersection(*(set(frame["date"]) for frame in frames))
        rows = [
            frame.filter(pl.col("date").is_in(list(common))).sort("date")["net"].to_numpy()
            for frame in frames
        ]
        return probability_of_overfitting(np.vstack(rows))


def select_weights(
    books: Mapping[str, pl.DataFrame],
    prices: pl.DataFrame,
    asofs: Sequence[date],
    *,
    settings: Settings,
    costs: Costs,
    until: date,
    periods_per_year: int,
) -> Selection:
    """The weights of each fold from the point with the best past Sharpe.

    `books` maps a point's label to its weights; only those at `asofs` count. A past ends
    `evaluation.embargo_sessions` (null: the longest horizon) before the fold's first rebalance.
    """
    wanted = pl.col("asof").is_in(list(asofs))
    held = {label: frame.filter(wanted) for label, frame in books.items()}
    found = simulate_cases(
        [Case(frame, costs) for frame in held.values()],
        prices,
        until=until,
        periods_per_year=periods_per_year,
        delisted_after=settings.simulation.delisted_after,
        lot_size=settings.simulation.lot_size,
        keep_trades=False,
    )
    returns = {
        label: result.returns.select("date", "net")
        for label, result in zip(held, found, strict=True)
    }
    choices = choose(
        returns,
        asofs,
        fold=settings.selection.fold,
        min_sessions=settings.selection.min_sessions,
        window=settings.selection.window,
        embargo=settings.embargo_sessions,
    )
    return Selection(splice(held, choices), returns, choices)


def strategy_identity(
    settings: Settings, parameters: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What makes two strategies the same trial: name, parameters, a user's own source, and what
    the simulation allows where it is not the default.

    `parameters` are those of one grid point; None: the run's own, with its grid.
    """
    strategy, simulation = settings.strategy, settings.simulation
    found: dict[str, Any] = {"name": strategy.name}
    if parameters is not None:
        found |= parameters
    elif strategy.grid:
        found |= strategy.parameters | {"grid": strategy.grid}
        found |= {"selection": settings.selection.model_dump()}
    else:
        found |= strategy.parameters
    changed = simulation.model_dump(exclude_defaults=True)
    source = strategy_source(strategy)
    found |= {"simulation": changed} if changed else {}
    return found if source is None else found | {"source_sha256": source}


def strategy_source(strategy: StrategySettings) -> str | None:
    """SHA-256 of the file a strategy of a user's own is written in; None for a shipped one."""
    path: str | None = strategy.name.partition(":")[0]
    if not strategy.name.partition(":")[0].endswith((".py", ".yaml", ".yml")):
        own = getattr(grid_points(strategy)[0].strategy, "strategy", None)  # of an entry point
        path = None if own is None else inspect.getsourcefile(type(own))
    return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()

"""Walk-forward selection: each fold's parameters from a grid, by what was known before it.

1. `select_weights` simulates every point of the grid in one call
2. `choose` looks, at the first rebalance of a fold, at what each point returned up to then
3. `splice` takes each fold's target weights from the point chosen for it

The spliced weights are simulated like any others: the switch between two points costs its turnover.
Dates in the model's training period and after it are selected apart: what a model did on dates it
was trained on must not choose what is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from backtest.costs import Costs
from backtest.simulation.portfolio import Case, simulate_cases
from backtest.statistics.overfitting import shared_overfitting
from backtest.statistics.performance import sharpe
from engine.config import Settings
from engine.config.settings import SelectionSettings

__all__ = ["Selection", "choose", "select_weights", "splice"]

_EVERY = {"month": "1mo", "quarter": "1q", "year": "1y"}


@dataclass(frozen=True)
class Selection:
    """What a walk-forward selection chose.

    Attributes
    ----------
    weights
        asof, ticker, weight of the chosen points.
    returns
        Label → date, net: the simulated returns of every point.
    choices
        fold (its first asof), chosen, sharpe (null where unjudged), n_sessions.
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
            "overfitting_probability": shared_overfitting(list(self.returns.values())),
            "in_sample_best": {"chosen": best, "sharpe_net": known.get(best) if best else None},
        }


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
    choices = choose(returns, asofs, settings.selection, embargo=settings.embargo_sessions)
    return Selection(splice(held, choices), returns, choices)


def choose(
    returns: Mapping[str, pl.DataFrame],
    asofs: Sequence[date],
    rules: SelectionSettings,
    *,
    embargo: int = 0,
) -> pl.DataFrame:
    """The point of each fold: the one with the highest Sharpe ratio of its past net returns.

    A choice is made at the close of the fold's first rebalance and reads no return after that date;
    before there are `min_sessions` of them it is the grid's first point, without comparison.

    Parameters
    ----------
    returns
        Grid point → date, net: daily net returns of its own simulation.
    asofs
        Rebalance dates, ascending.
    rules
        `selection`: calendar period of a fold, sessions that a past must have and may have.
    embargo
        Sessions up to the fold's first rebalance that do not count.

    Returns
    -------
    pl.DataFrame
        fold (first asof), chosen, sharpe (annualised by √252, null where unjudged), n_sessions.
        Ties go to the point earlier in the grid.
    """
    if not returns:
        raise ValueError("walk-forward selection needs at least one grid point")
    labels = list(returns)
    table = _side_by_side(returns)
    dates = table["date"].to_numpy()
    values = table.select(labels).to_numpy()
    rows: list[tuple[date, str, float | None, int]] = []
    for asof in _first_of_each(asofs, rules.fold):
        known = int(np.searchsorted(dates, np.datetime64(asof, "D"), side="right"))
        end = max(known - embargo, 0)
        past = values[max(0, end - rules.window) if rules.window else 0 : end]
        best, ratio = _best(past) if len(past) >= rules.min_sessions else (0, None)
        rows.append((asof, labels[best], ratio, len(past)))
    schema = {"fold": pl.Date, "chosen": pl.String, "sharpe": pl.Float64, "n_sessions": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _best(past: np.ndarray) -> tuple[int, float]:
    """Number and Sharpe ratio of the column with the highest; one that does not vary has 0."""
    mean, spread = past.mean(axis=0), past.std(axis=0, ddof=1)
    sharpes = np.divide(mean, spread, out=np.zeros(len(mean)), where=spread > 0)
    best = int(np.argmax(sharpes))
    return best, float(sharpes[best] * np.sqrt(252))


def splice(weights: Mapping[str, pl.DataFrame], choices: pl.DataFrame) -> pl.DataFrame:
    """asof, ticker, weight of the portfolio chosen for each asof's fold; sorted."""
    tagged = pl.concat(
        [frame.with_columns(chosen=pl.lit(label)) for label, frame in weights.items()]
    ).sort("asof", "ticker")
    joined = tagged.join_asof(
        choices.select("fold", use="chosen").sort("fold"), left_on="asof", right_on="fold"
    )
    return joined.filter(pl.col("chosen") == pl.col("use")).select("asof", "ticker", "weight")


def _side_by_side(returns: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """date and one column a grid point; a session before a portfolio's first fill earned 0."""
    long = pl.concat(
        [frame.select("date", "net", point=pl.lit(label)) for label, frame in returns.items()]
    )
    wide = long.pivot(on="point", on_columns=list(returns), index="date", values="net")
    return wide.sort("date").with_columns(pl.exclude("date").fill_null(0.0))


def _first_of_each(asofs: Sequence[date], fold: str) -> list[date]:
    days = pl.Series("asof", asofs, dtype=pl.Date).to_frame()
    periods = days.group_by(pl.col("asof").dt.truncate(_EVERY[fold]).alias("period"))
    return periods.agg(pl.col("asof").min())["asof"].sort().to_list()

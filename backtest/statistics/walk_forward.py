"""Choosing among a grid of portfolios on the past alone.

1. ``choose`` looks, at the first rebalance of a fold, at what each portfolio returned up to then
2. ``splice`` takes each fold's target weights from the portfolio chosen for it

The spliced weights are simulated like any others: the switch between two portfolios costs its
turnover. Every grid point is a trial; the deflated Sharpe must know their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Literal

import numpy as np
import polars as pl

__all__ = ["Fold", "choose", "splice"]

Fold = Literal["month", "quarter", "year"]
_EVERY: dict[str, str] = {"month": "1mo", "quarter": "1q", "year": "1y"}


def choose(
    returns: Mapping[str, pl.DataFrame],
    asofs: Sequence[date],
    *,
    fold: Fold = "year",
    min_sessions: int = 252,
    window: int | None = None,
    embargo: int = 0,
) -> pl.DataFrame:
    """The portfolio of each fold: the one with the highest Sharpe ratio of its past net returns.

    Parameters
    ----------
    returns
        Grid point → date, net: daily net returns of its own simulation.
    asofs
        Rebalance dates, ascending.
    fold
        Calendar period for which a choice holds; it is made at the close of the period's first
        rebalance and reads no return after that date.
    min_sessions
        Sessions a past must have; before, the grid's first point is taken, unjudged.
    window
        Only the last so many sessions count; None: all.
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
    if min_sessions < 2:
        raise ValueError(f"min_sessions: {min_sessions} must be at least 2")
    labels = list(returns)
    table = _side_by_side(returns)
    dates = table["date"].to_numpy()
    values = table.select(labels).to_numpy()
    rows: list[tuple[date, str, float | None, int]] = []
    for asof in _first_of_each(asofs, fold):
        known = int(np.searchsorted(dates, np.datetime64(asof, "D"), side="right"))
        end = max(known - embargo, 0)
        past = values[max(0, end - window) if window else 0 : end]
        if len(past) < min_sessions:
            rows.append((asof, labels[0], None, len(past)))
            continue
        spread = past.std(axis=0, ddof=1)
        sharpe = np.divide(past.mean(axis=0), spread, out=np.zeros(len(labels)), where=spread > 0)
        best = int(np.argmax(sharpe))
        rows.append((asof, labels[best], float(sharpe[best] * np.sqrt(252)), len(past)))
    schema = {"fold": pl.Date, "chosen": pl.String, "sharpe": pl.Float64, "n_sessions": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


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


def _first_of_each(asofs: Sequence[date], fold: Fold) -> list[date]:
    frame = pl.DataFrame({"asof": sorted(asofs)}, schema={"asof": pl.Date})
    period = pl.col("asof").dt.truncate(_EVERY[fold])
    return (
        frame.group_by(period.alias("period"))
        .agg(pl.col("asof").min())
        .sort("asof")["asof"]
        .to_list()
    )

"""Is one run's RankIC above another's? The difference, paired date by date."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from backtest.statistics.significance import bootstrap_interval, mean_interval, session_spacing
from engine.backtest.compare.runs import FinishedRun
from engine.calendar import TradingCalendar

__all__ = ["paired_differences"]

DRAWS = 1000


def paired_differences(
    runs: Sequence[FinishedRun], *, draws: int = DRAWS, seed: int = 0
) -> list[dict[str, Any]]:
    """Mean RankIC of each later run minus the first one's, on the dates that both judged.

    Rows hold run, against, horizon, n_dates, difference, bootstrap_ci95 (stationary bootstrap of
    the paired differences, Politis and Romano, 1994), ci95 (the interval of the gates) and
    ``distinct``: neither interval holds 0.
    """
    first = runs[0]
    rows = []
    for other in runs[1:]:
        both = other.ic.join(first.ic, on=["asof", "horizon"], suffix="_first").sort("asof")
        calendar = TradingCalendar(other.config["data"]["calendar"])
        for horizon in sorted(both["horizon"].unique().to_list()):
            part = both.filter(pl.col("horizon") == horizon)
            change = part["rank_ic"] - part["rank_ic_first"]
            dates = part["asof"].to_list()
            spacing = session_spacing(dates, calendar.sessions(dates[0], dates[-1]))
            found = mean_interval(change, horizon=horizon, spacing=spacing)
            drawn = bootstrap_interval(
                change, horizon=horizon, spacing=spacing, draws=draws, seed=seed
            )
            bounds = [b for b in (found.bounds, drawn) if b is not None]
            rows.append(
                {
                    "run": other.name,
                    "against": first.name,
                    "horizon": horizon,
                    "n_dates": part.height,
                    "difference": found.mean,
                    "bootstrap_ci95": drawn,
                    "ci95": found.bounds,
                    "distinct": bool(bounds) and all(low > 0 or high < 0 for low, high in bounds),
                }
            )
    return rows

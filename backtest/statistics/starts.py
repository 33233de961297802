"""Would the finding be another one had the judging begun later?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl

from backtest.statistics.performance import sharpe
from backtest.statistics.significance import mean_interval, session_spacing

__all__ = ["start_sensitivity"]

_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
_MIN_DATES = 3


def start_sensitivity(
    judged: pl.DataFrame,
    excess: pl.DataFrame,
    returns: pl.DataFrame,
    *,
    sessions: Sequence[date],
    periods_per_year: int,
) -> list[dict[str, Any]]:
    """Mean RankIC, mean net excess and Sharpe from later and later starts.

    Takes asof, horizon, rank_ic; asof, horizon, net_excess; date, net. The first 0, 10, … 50 % of
    the judged dates are left out in turn. Rows hold start, horizon, n_dates, rank_ic_mean, ci95,
    net_excess_mean and sharpe_net (of the portfolio's sessions after the start, whatever the
    horizon); starts that leave fewer than three dates are left out.
    """
    dates = judged["asof"].unique().sort()
    rows = []
    for share in _SHARES if dates.len() else ():
        start = dates[int(share * dates.len())]
        traded = returns.filter(pl.col("date") > start)["net"].to_numpy()
        ratio = sharpe(traded, periods_per_year=periods_per_year)
        for (horizon,), part in judged.filter(pl.col("asof") >= start).group_by(
            "horizon", maintain_order=True
        ):
            if part.height < _MIN_DATES:
                continue
            part = part.sort("asof")
            spacing = session_spacing(part["asof"], sessions)
            found = mean_interval(part["rank_ic"], horizon=int(str(horizon)), spacing=spacing)
            kept = excess.filter(pl.col("asof") >= start, pl.col("horizon") == horizon)
            rows.append(
                {
                    "start": start,
                    "horizon": horizon,
                    "n_dates": part.height,
                    "rank_ic_mean": found.mean,
                    "ci95": found.bounds,
                    "net_excess_mean": kept["net_excess"].mean(),
                    "sharpe_net": ratio,
                }
            )
    return rows

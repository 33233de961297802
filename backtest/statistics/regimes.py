"""RankIC by market regime."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from backtest.statistics.significance import mean_interval, session_spacing

__all__ = ["regime_table"]

_REGIMES = {"volatility": ("low", "mid", "high"), "trend": ("bull", "bear")}


def regime_table(
    panel: pl.DataFrame,
    ic: pl.DataFrame,
    *,
    sessions: Sequence[date],
    min_dates: int,
    min_names: int,
) -> list[dict[str, Any]]:
    """One row per kind, regime and horizon that has judged dates.

    Takes the panel's asof, volatility_regime, trend_regime and the frame of RankICs. Rows hold
    kind, regime, horizon, n_dates, n_names_median, rank_ic_mean, ci95 and ``thin``: fewer than
    ``min_dates`` dates or ``min_names`` names, shown and not judged. Dates whose regime is null
    (history too short) are in no slice.
    """
    judged = ic.filter(pl.col("rank_ic").is_not_null()).select("asof", "horizon", "n", "rank_ic")
    columns = [f"{kind}_regime" for kind in _REGIMES]
    labelled = judged.join(panel.select("asof", *columns).unique("asof"), on="asof", how="left")
    rows = []
    for kind, regimes in _REGIMES.items():
        for regime in regimes:
            for horizon in sorted(labelled["horizon"].unique().to_list()):
                part = labelled.filter(
                    pl.col(f"{kind}_regime") == regime, pl.col("horizon") == horizon
                ).sort("asof")
                if not part.height:
                    continue
                spacing = session_spacing(part["asof"], sessions)
                found = mean_interval(part["rank_ic"], horizon=horizon, spacing=spacing)
                names = float(np.median(part["n"].to_numpy()))
                rows.append(
                    {
                        "kind": kind,
                        "regime": regime,
                        "horizon": horizon,
                        "n_dates": part.height,
                        "n_names_median": names,
                        "rank_ic_mean": found.mean,
                        "ci95": found.bounds,
                        "thin": part.height < min_dates or names < min_names,
                    }
                )
    return rows

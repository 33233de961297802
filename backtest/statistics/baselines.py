"""What a plain factor would have scored on the same dates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl

from backtest.statistics.cross_sections import CrossSections
from backtest.statistics.ic import information_coefficient
from backtest.statistics.significance import mean_interval, session_spacing

__all__ = ["factor_baselines"]


def factor_baselines(
    panel: pl.DataFrame | CrossSections,
    judged: pl.DataFrame,
    *,
    factors: Sequence[str],
    sessions: Sequence[date],
    min_cross_section: int,
) -> dict[str, dict[str, Any]]:
    """RankIC of each factor of the panel, taken as a score, on the judged dates.

    Returns {factor: {"20": {"n_dates", "rank_ic_mean", "ci95"}}}; factors that are no column of the
    panel are left out, horizons without a usable date have n_dates 0 and None.
    """
    sections = CrossSections.of(panel)
    horizons = sections.keys["horizon"].unique().sort().to_list()
    found: dict[str, dict[str, Any]] = {}
    for factor in factors:
        if factor not in sections.columns:
            continue
        ic = (
            information_coefficient(sections, min_cross_section=min_cross_section, score=factor)
            .filter(pl.col("status") == "judged")
            .join(judged, on=["asof", "horizon"], how="semi", maintain_order="left")
        )
        found[factor] = {str(horizon): _summary(ic, horizon, sessions) for horizon in horizons}
    return found


def _summary(ic: pl.DataFrame, horizon: int, sessions: Sequence[date]) -> dict[str, Any]:
    series = ic.filter(pl.col("horizon") == horizon).sort("asof")
    spacing = session_spacing(series["asof"], sessions)
    interval = mean_interval(series["rank_ic"], horizon=horizon, spacing=spacing)
    return {"n_dates": interval.n, "rank_ic_mean": interval.mean, "ci95": interval.bounds}

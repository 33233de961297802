"""What a horizon's report shows beside the gates' own figures; no gate looks at any of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl

from backtest.costs import Costs
from backtest.statistics.capacity import capacity, capacity_curve, cost_overlay
from backtest.statistics.cross_sections import CrossSections
from backtest.statistics.net_excess import hit_rate
from backtest.statistics.neutral import neutral_rank_ic
from backtest.statistics.quality import forecast_quality
from backtest.statistics.quantiles import monotonicity
from backtest.statistics.significance import mean_interval, session_spacing

__all__ = ["descriptive"]


def descriptive(
    sections: CrossSections,
    judged: pl.DataFrame,
    members: pl.DataFrame,
    quantiles: pl.DataFrame,
    *,
    costs: Costs,
    sessions: Sequence[date],
    neutral_factors: Sequence[str],
    sector: str | None,
    min_cross_section: int,
    price_forecasts: bool,
) -> dict[str, dict[str, Any]]:
    """Further entries of ``metrics["horizons"]``, by horizon.

    neutral_rank_ic (mean, with neutral_rank_ic_ci95 and neutral_factors, the factors it is free
    of), quantile_monotonicity, hit_rate, turnover_mean, cost_overlay, capacity_aum, capacity_curve
    and forecast (None unless ``price_forecasts``).

    Parameters
    ----------
    judged
        asof, horizon, … of the dates with a RankIC.
    members, quantiles
        Of :func:`..net_excess.top_members` and :func:`..quantiles.quantile_returns`.
    """
    free_of = [name for name in neutral_factors if name in sections.columns]
    sector = sector if sector in sections.columns else None
    neutral = (
        neutral_rank_ic(
            sections, judged, factors=free_of, sector=sector, min_cross_section=min_cross_section
        )
        if free_of or sector
        else None
    )
    quality = forecast_quality(sections.frame) if price_forecasts else {}
    found = {}
    for horizon in sections.keys["horizon"].unique().sort().to_list():
        of_horizon = pl.col("horizon") == horizon
        top = members.filter(of_horizon)
        entered = (
            top.filter(pl.col("label").is_finite())
            .group_by("asof", maintain_order=True)
            .agg((~pl.col("kept")).mean())
        )
        found[str(horizon)] = {
            **_neutral(neutral, horizon, sessions),
            "neutral_factors": [*free_of, *([sector] if sector else [])],
            "quantile_monotonicity": monotonicity(quantiles.filter(of_horizon)),
            "hit_rate": hit_rate(top),
            "turnover_mean": entered["kept"].mean(),
            "cost_overlay": cost_overlay(top, costs=costs, horizon=horizon, sessions=sessions),
            "capacity_aum": capacity(top, costs=costs),
            "capacity_curve": capacity_curve(top, costs=costs),
            "forecast": quality.get(str(horizon)),
        }
    return found


def _neutral(
    neutral: pl.DataFrame | None, horizon: int, sessions: Sequence[date]
) -> dict[str, Any]:
    if neutral is None:
        return {"neutral_rank_ic": None, "neutral_rank_ic_ci95": None}
    series = neutral.filter(pl.col("horizon") == horizon).sort("asof")
    spacing = session_spacing(series["asof"], sessions)
    interval = mean_interval(series["rank_ic"], horizon=horizon, spacing=spacing)
    return {"neutral_rank_ic": interval.mean, "neutral_rank_ic_ci95": interval.bounds}

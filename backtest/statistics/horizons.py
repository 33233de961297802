"""``metrics["horizons"]``: every series of a judgement summed up, horizon by horizon.

1. ``horizon_figures`` gives the figures that the gates look at, with their intervals
2. ``descriptive_figures`` adds what reports show beside them; no gate looks at any of it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

import polars as pl

from ..costs import Costs
from .net_excess import (
    breakeven_bps,
    capacity,
    capacity_curve,
    cost_overlay,
    cost_survival,
    hit_rate,
)
from .quantiles import monotonicity
from .significance import bootstrap_interval, series_interval, session_spacing

__all__ = ["JudgedSeries", "descriptive_figures", "horizon_figures"]


@dataclass(frozen=True)
class JudgedSeries:
    """What was measured on each date, sorted by asof and horizon.

    Attributes
    ----------
    dates
        RankICs with the status of every date (:func:`backtest.statistics.ic.rank_ic_frame`).
    members
        The Top-K of the judged dates (:func:`backtest.statistics.net_excess.top_members`).
    excess
        Its net excess (:func:`backtest.statistics.net_excess.excess_after_costs`).
    churn
        Between rebalances (:func:`backtest.statistics.churn.churn`).
    correlation
        With the factor of gate 1 (:func:`backtest.statistics.factors.factor_correlation`).
    quantiles
        Mean labels (:func:`backtest.statistics.quantiles.quantile_returns`).
    """

    dates: pl.DataFrame
    members: pl.DataFrame
    excess: pl.DataFrame
    churn: pl.DataFrame
    correlation: pl.DataFrame
    quantiles: pl.DataFrame

    @property
    def judged(self) -> pl.DataFrame:
        """The dates that have a RankIC."""
        return self.dates.filter(pl.col("status") == "judged")

    def at(self, horizon: int) -> JudgedSeries:
        """The same of one horizon."""
        own = pl.col("horizon") == horizon
        return JudgedSeries(*(getattr(self, item.name).filter(own) for item in fields(self)))


def horizon_figures(
    series: JudgedSeries,
    folds: pl.DataFrame,
    *,
    costs: Costs,
    sessions: Sequence[date],
    horizon: int,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """What the gates look at, of the series of one horizon; ``folds`` has asof, fold."""
    correlation = series.correlation
    return {
        **_rank_ic_figures(series, folds, sessions, horizon, draws, seed),
        **_excess_figures(series, costs, sessions, horizon),
        "churn_median": series.churn["churn"].median(),
        "redundancy": correlation["correlation"].median(),
        "redundancy_ci95": bootstrap_interval(
            correlation["correlation"],
            horizon=horizon,
            spacing=session_spacing(correlation["asof"], sessions),
            draws=draws,
            seed=seed,
            statistic="median",
        ),
    }


def _rank_ic_figures(
    series: JudgedSeries,
    folds: pl.DataFrame,
    sessions: Sequence[date],
    horizon: int,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    judged = series.judged
    status = series.dates["status"].value_counts()
    counts = dict(zip(status["status"], status["count"], strict=True))
    ic, opened = judged["rank_ic"], judged.drop_nulls("rank_ic_next_open")
    interval = series_interval(judged, "rank_ic", horizon=horizon, sessions=sessions)
    next_open = series_interval(opened, "rank_ic_next_open", horizon=horizon, sessions=sessions)
    spacing = session_spacing(judged["asof"], sessions)
    bootstrap = bootstrap_interval(ic, horizon=horizon, spacing=spacing, draws=draws, seed=seed)
    spread: Any = ic.std(ddof=1)
    return {
        "n_dates": judged.height,
        "n_dates_constant": counts.get("constant", 0),
        "n_dates_thin": counts.get("thin", 0),
        "n_dates_immature": counts.get("immature", 0),
        "n_names_median": judged["n"].median(),
        "rank_ic_mean": interval.mean,
        "rank_ic_std": spread,
        "icir": interval.mean / spread if interval.mean is not None and spread else None,
        "rank_ic_headline": _headline(judged, folds),
        "hac_t": interval.t,
        "hac_lag": interval.lag,
        "ci95": interval.bounds,
        "bootstrap_ci95": bootstrap,
        "positive_share": (ic > 0).mean(),
        "ic_mean": judged["ic"].mean(),
        "rank_ic_next_open": next_open.mean,
        "rank_ic_next_open_ci95": next_open.bounds,
    }


def _headline(judged: pl.DataFrame, folds: pl.DataFrame) -> Any:
    """Median over folds of the fold's median RankIC."""
    named = judged.join(folds, on="asof", how="left")
    return named.group_by("fold").agg(pl.col("rank_ic").median())["rank_ic"].median()


def _excess_figures(
    series: JudgedSeries, costs: Costs, sessions: Sequence[date], horizon: int
) -> dict[str, Any]:
    excess = series.excess
    net = series_interval(excess, "net_excess", horizon=horizon, sessions=sessions)
    return {
        "excess_mean": excess["excess"].mean(),
        "net_excess_mean": net.mean,
        "net_excess_ci95": net.bounds,
        "cost_survival": cost_survival(excess),
        "breakeven_bps": breakeven_bps(series.members, costs=costs),
    }


def descriptive_figures(
    series: JudgedSeries,
    *,
    costs: Costs,
    sessions: Sequence[date],
    horizon: int,
    neutral: pl.DataFrame | None,
    neutral_factors: Sequence[str],
    forecast: dict[str, Any] | None,
) -> dict[str, Any]:
    """What is shown beside it, of the series of one horizon.

    Parameters
    ----------
    costs
        Of the run; half and twice of them are shown too.
    neutral
        :func:`backtest.statistics.factors.neutral_rank_ic` of all horizons, or None.
    neutral_factors
        What that is free of.
    forecast
        Quality of the forecasts themselves, or None.
    """
    top = series.members
    free = None
    if neutral is not None:
        own = neutral.filter(pl.col("horizon") == horizon).sort("asof")
        free = series_interval(own, "rank_ic", horizon=horizon, sessions=sessions)
    entered = (
        top.filter(pl.col("label").is_finite())
        .group_by("asof", maintain_order=True)
        .agg((~pl.col("kept")).mean())
    )
    return {
        "neutral_rank_ic": None if free is None else free.mean,
        "neutral_rank_ic_ci95": None if free is None else free.bounds,
        "neutral_factors": list(neutral_factors),
        "quantile_monotonicity": monotonicity(series.quantiles),
        "hit_rate": hit_rate(top),
        "turnover_mean": entered["kept"].mean(),
        "cost_overlay": cost_overlay(top, costs=costs, horizon=horizon, sessions=sessions),
        "capacity_aum": capacity(top, costs=costs),
        "capacity_curve": capacity_curve(top, costs=costs),
        "forecast": forecast,
    }

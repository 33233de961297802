"""Summary of one horizon: every series with its mean and interval."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl

from backtest.statistics.net_excess import breakeven_bps, cost_survival
from backtest.statistics.significance import bootstrap_interval, mean_interval, session_spacing

__all__ = ["horizon_metrics"]


def horizon_metrics(
    dates: pl.DataFrame,
    excess: pl.DataFrame,
    *,
    replaced: pl.DataFrame,
    correlation: pl.DataFrame,
    panel: pl.DataFrame,
    sessions: Sequence[date],
    horizon: int,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """One entry of ``metrics["horizons"]``.

    Parameters
    ----------
    dates
        RankICs with the status of every date (:func:`backtest.statistics.ic.rank_ic_frame`).
    excess, replaced, correlation
        Net excess, churn and correlation with the factor.
    panel
        asof, fold.
    sessions
        All sessions, ascending.
    horizon
        In sessions; the frames hold this horizon only, sorted by asof.
    draws, seed
        Of the bootstrap.
    """
    judged = dates.filter(pl.col("status") == "judged")
    status = dates["status"].value_counts()
    counts = dict(zip(status["status"], status["count"], strict=True))
    spacing = session_spacing(judged["asof"], sessions)
    ic = judged["rank_ic"]
    interval = mean_interval(ic, horizon=horizon, spacing=spacing)
    opened = judged.drop_nulls("rank_ic_next_open")
    next_open = mean_interval(
        opened["rank_ic_next_open"],
        horizon=horizon,
        spacing=session_spacing(opened["asof"], sessions),
    )
    net = mean_interval(
        excess["net_excess"],
        horizon=horizon,
        spacing=session_spacing(excess["asof"], sessions),
    )
    spread = ic.std(ddof=1)
    mean = interval.mean
    fold_medians = (
        judged.join(panel.select("asof", "fold").unique("asof"), on="asof", how="left")
        .group_by("fold")
        .agg(pl.col("rank_ic").median())
    )
    return {
        "n_dates": judged.height,
        "n_dates_constant": counts.get("constant", 0),
        "n_dates_thin": counts.get("thin", 0),
        "n_dates_immature": counts.get("immature", 0),
        "n_names_median": judged["n"].median(),
        "rank_ic_mean": mean,
        "rank_ic_std": spread,
        "icir": mean / spread if mean is not None and spread else None,  # type: ignore[operator]
        "rank_ic_headline": fold_medians["rank_ic"].median(),
        "hac_t": interval.t,
        "hac_lag": interval.lag,
        "ci95": interval.bounds,
        "bootstrap_ci95": bootstrap_interval(
            ic, horizon=horizon, spacing=spacing, draws=draws, seed=seed
        ),
        "positive_share": (ic > 0).mean(),
        "ic_mean": judged["ic"].mean(),
        "rank_ic_next_open": next_open.mean,
        "rank_ic_next_open_ci95": next_open.bounds,
        "excess_mean": excess["excess"].mean(),
        "net_excess_mean": net.mean,
        "net_excess_ci95": net.bounds,
        "cost_survival": cost_survival(excess),
        "breakeven_bps": breakeven_bps(excess),
        "churn_median": replaced["churn"].median(),
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

"""Interactive charts as plain Plotly figure dictionaries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..data import ReportData
from .attribution import attribution
from .chart import Chart
from .stability import capacity, cost_curve, decay, starts
from .summary import baselines, quantiles, rank_ic_by_horizon, regimes
from .time import churn, equity, net_excess, rank_ic

__all__ = ["TITLES", "Chart", "build_charts"]

_CHARTS: dict[str, tuple[str, Callable[[ReportData], Chart | None]]] = {
    "rank_ic_by_horizon": ("RankIC by horizon", rank_ic_by_horizon),
    "equity": ("Cumulative return and drawdown", equity),
    "attribution": ("Legs, exposure, turnover and beta", attribution),
    "rank_ic": ("RankIC over time", rank_ic),
    "quantiles": ("Mean label by score quantile", quantiles),
    "starts": ("Mean RankIC when judging begins later", starts),
    "decay": ("Decay inside folds", decay),
    "churn": ("Churn over time", churn),
    "cost_curve": ("Net excess against cost", cost_curve),
    "capacity": ("Net excess against capital", capacity),
    "net_excess": ("Net excess by fold", net_excess),
    "regimes": ("RankIC by market regime", regimes),
    "baselines": ("The score beside simple rivals", baselines),
    "training_rank_ic_by_horizon": (
        "RankIC by horizon, training period",
        partial(rank_ic_by_horizon, in_training=True),
    ),
    "training_equity": (
        "Cumulative return and drawdown, training period",
        partial(equity, in_training=True),
    ),
}
TITLES = {name: title for name, (title, _) in _CHARTS.items()}


def build_charts(data: ReportData) -> dict[str, Chart]:
    """Every chart that has something to show, by name; ``training_…`` for the training period."""
    charts = {name: build(data) for name, (_, build) in _CHARTS.items()}
    return {name: chart for name, chart in charts.items() if chart is not None}

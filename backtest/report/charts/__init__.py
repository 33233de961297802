"""Interactive charts as plain Plotly figure dictionaries."""

from __future__ import annotations

from ..data import ReportData
from .attribution import attribution
from .chart import Chart
from .stability import capacity, cost_curve, decay, starts
from .summary import baselines, quantiles, rank_ic_by_horizon, regimes
from .time import churn, equity, net_excess, rank_ic

__all__ = ["Chart", "build_charts"]


def build_charts(data: ReportData) -> dict[str, Chart]:
    """Every chart that has something to show, by name; ``training_…`` for the training period."""
    charts = {
        "rank_ic_by_horizon": rank_ic_by_horizon(data),
        "equity": equity(data),
        "attribution": attribution(data),
        "rank_ic": rank_ic(data),
        "quantiles": quantiles(data),
        "churn": churn(data),
        "net_excess": net_excess(data),
        "cost_curve": cost_curve(data),
        "capacity": capacity(data),
        "decay": decay(data),
        "starts": starts(data),
        "regimes": regimes(data),
        "baselines": baselines(data),
        "training_rank_ic_by_horizon": rank_ic_by_horizon(data, in_training=True),
        "training_equity": equity(data, in_training=True),
    }
    return {name: chart for name, chart in charts.items() if chart is not None}

"""The charts of a report, drawn once for page and picture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..data import ReportData
from ..drawing import Sheet
from .averages import (
    baselines,
    capacity,
    cost_curve,
    decay,
    quantiles,
    rank_ic_by_horizon,
    regimes,
    starts,
)
from .time import attribution, churn, equity, net_excess, rank_ic

__all__ = ["TITLES", "draw_charts"]

_CHARTS: dict[str, tuple[str, Callable[[ReportData], Sheet | None]]] = {
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


def draw_charts(data: ReportData) -> dict[str, Sheet]:
    """Every chart that has something to show, by name; ``training_…`` for the training period."""
    sheets = {name: draw(data) for name, (_, draw) in _CHARTS.items()}
    return {name: sheet for name, sheet in sheets.items() if sheet is not None}

"""Charts of averages with their intervals: horizons, quantiles, regimes, baselines."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from .. import palette
from ..data import ReportData
from ..formatting import is_number
from ..series import condition_threshold, quantile_means
from .chart import Chart, axis, horizon_colors, horizontal, layout, whiskers

__all__ = ["baselines", "quantiles", "rank_ic_by_horizon", "regimes"]

Block = Mapping[str, Any]


def rank_ic_by_horizon(data: ReportData, *, in_training: bool = False) -> Chart | None:
    """Mean RankIC as a dot with its 95 % interval; greyed for the training period."""
    blocks = {h: data.horizon(h, in_training=in_training) for h in data.horizons}
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [str(horizon)],
            "y": [blocks[horizon]["rank_ic_mean"]],
            "marker": {"color": shade, "size": 11},
            "error_y": whiskers([blocks[horizon]], color=shade, thickness=2),
            "hovertemplate": "RankIC %{y:.3f}<extra></extra>",
        }
        for horizon, color in horizon_colors(data).items()
        if is_number(blocks[horizon].get("rank_ic_mean"))
        and (shade := palette.GREY if in_training else color)
    ]
    if not traces:
        return None
    threshold = None if in_training else condition_threshold(data.gates, "factor", "rankic")
    figure_layout = layout(
        margin={"l": 48, "r": 10, "t": 10, "b": 28},
        hovermode="closest",
        showlegend=False,
        xaxis=axis(type="category"),
        yaxis=axis(tickformat=".3~f", rangemode="tozero"),
        shapes=[] if threshold is None else [horizontal(threshold)],
    )
    note = "" if threshold is None else f"Dotted: {threshold:g}, the factor gate's threshold."
    return Chart({"data": traces, "layout": figure_layout}, 260, note)


def quantiles(data: ReportData) -> Chart | None:
    """Mean label of each score quantile, bars grouped by horizon."""
    traces = []
    for horizon, color in horizon_colors(data).items():
        numbers, means = quantile_means(data.quantiles, horizon)
        if any(map(is_number, means)):
            bars = {"type": "bar", "x": [f"Q{q}" for q in numbers], "y": means}
            names = {"name": f"{horizon} sessions", "showlegend": True}
            traces.append(
                {**bars, **names, "marker": {"color": color}, "hovertemplate": "%{y:.2%}"}
            )
    if not traces:
        return None
    figure_layout = layout(
        barmode="group", xaxis=axis(type="category"), yaxis=axis(tickformat=".2~%")
    )
    return Chart({"data": traces, "layout": figure_layout}, 290)


def regimes(data: ReportData) -> Chart | None:
    """Mean RankIC of each regime slice with its interval; thin slices are open circles."""
    slices = data.metrics.get("regimes") or []
    by_horizon: dict[int, list[tuple[str, Block]]] = {}
    for row in slices:
        name = html.escape(f"{row.get('kind')}: {row.get('regime')}")
        by_horizon.setdefault(int(row["horizon"]), []).append((name, row))
    return _dots(data, by_horizon)


def baselines(data: ReportData) -> Chart | None:
    """Mean RankIC of the score and of each baseline, with intervals."""
    rivals: Mapping[str, Mapping[str, Block]] = data.metrics.get("baselines") or {}
    if not rivals:
        return None
    by_horizon: dict[int, list[tuple[str, Block]]] = {}
    for horizon in data.horizons:
        rows = [
            (html.escape(name), (rivals[name] or {}).get(str(horizon)) or {}) for name in rivals
        ]
        by_horizon[horizon] = [("This score", data.horizon(horizon)), *rows]
    return _dots(data, by_horizon)


def _dots(data: ReportData, by_horizon: dict[int, list[tuple[str, Block]]]) -> Chart | None:
    colors = horizon_colors(data)
    names = list(dict.fromkeys(name for rows in by_horizon.values() for name, _ in rows))
    traces = []
    # Groups grow upwards, so the longest horizon comes first to stand at the bottom.
    for horizon in sorted(by_horizon, reverse=True):
        rows = [(n, b) for n, b in by_horizon[horizon] if is_number(b.get("rank_ic_mean"))]
        if rows:
            traces.append(_row_of_dots(horizon, colors.get(horizon, palette.BLUE), rows))
    if not traces:
        return None
    figure_layout = layout(
        scattermode="group",
        hovermode="closest",
        xaxis=axis(tickformat=".3~f"),
        yaxis=axis(
            type="category",
            categoryorder="array",
            categoryarray=names[::-1],
            range=[-0.5, len(names) - 0.5],
        ),
        legend={**layout()["legend"], "traceorder": "reversed"},
    )
    height = 80 + len(names) * (14 + 13 * len(traces))
    return Chart({"data": traces, "layout": figure_layout}, height)


def _row_of_dots(horizon: int, color: str, rows: list[tuple[str, Block]]) -> dict[str, Any]:
    blocks = [block for _, block in rows]
    thin = [bool(block.get("thin")) for block in blocks]
    return {
        "type": "scatter",
        "mode": "markers",
        "orientation": "h",
        "x": [block["rank_ic_mean"] for block in blocks],
        "y": [name for name, _ in rows],
        "name": f"{horizon} sessions",
        "showlegend": True,
        "marker": {
            "color": color,
            "size": 9,
            "symbol": ["circle-open" if t else "circle" for t in thin],
        },
        "error_x": whiskers(blocks, color=color, thickness=2),
        "customdata": [
            f"{b.get('n_dates')} dates{', thin' if t else ''}"
            for b, t in zip(blocks, thin, strict=True)
        ],
        "hovertemplate": "%{x:.3f} (%{customdata})",
    }

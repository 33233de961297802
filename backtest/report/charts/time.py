"""Charts along time: return and drawdown, RankIC, churn, net excess."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import palette
from ..data import ReportData
from ..series import (
    Performance,
    by_fold,
    churn_series,
    condition_threshold,
    performance,
    rank_ic_series,
)
from .chart import Chart, axis, horizontal, label, layout, line, panels

__all__ = ["churn", "equity", "net_excess", "rank_ic"]

CURVES = {
    "net": ("Net", palette.NET, "solid"),
    "gross": ("Gross", palette.GROSS, "dash"),
    "benchmark": ("Benchmark", palette.BENCHMARK, "dot"),
}


def equity(data: ReportData, *, in_training: bool = False) -> Chart | None:
    """Compounded return above, drawdown below; greyed for the training period."""
    curves = performance(data.returns, in_training=in_training)
    if curves is None:
        return None
    figure_layout = layout(
        xaxis=axis(type="date", anchor="y2"),
        yaxis=axis(domain=[0.4, 1], tickformat=".0%"),
        yaxis2=axis(domain=[0, 0.31], tickformat=".0%", rangemode="tozero", nticks=4),
        annotations=[label("Drawdown", 0.315)],
    )
    note = f"Every {curves.step} sessions; the lowest points are kept." if curves.step > 1 else ""
    traces = _curves(curves, muted=in_training)
    return Chart({"data": traces, "layout": figure_layout}, 320 if in_training else 420, note)


def _curves(curves: Performance, *, muted: bool) -> list[dict[str, Any]]:
    traces = []
    for key, (name, color, dash) in CURVES.items():
        if key not in curves.cumulative:
            continue
        shade = palette.GREY if muted else color
        style = {"color": shade, "dash": dash, "width": 2.2 if key == "net" else 1.5}
        hover = {"hovertemplate": "%{y:.1%}"}
        traces.append(line(curves.dates, curves.cumulative[key], name, style, **hover))
        if key != "gross":
            below = {"yaxis": "y2", "showlegend": False, **hover}
            if key == "net":
                below |= {"fill": "tozeroy", "fillcolor": shade + "26"}
            y = curves.drawdown[key]
            traces.append(
                line(curves.dates, y, f"{name}, drawdown", style | {"width": 1.2}, **below)
            )
    return traces


def rank_ic(data: ReportData) -> Chart | None:
    """RankIC of each date and its trailing mean, one panel a horizon."""
    rebalance = data.run.get("rebalance")
    found = {h: rank_ic_series(data.ic, h, rebalance=rebalance) for h in data.horizons}
    drawn = {h: series for h, series in found.items() if series is not None}
    if not drawn:
        return None
    traces: list[dict[str, Any]] = []
    rows = panels(len(drawn))
    for (key, _), series in zip(rows, drawn.values(), strict=True):
        common = {"yaxis": f"y{key}", "hovertemplate": "%{y:.3f}", "showlegend": not key}
        bars = {"type": "bar", "x": series.dates, "y": series.values, "name": "RankIC of the date"}
        traces.append({**bars, "marker": {"color": palette.PALE}, **common})
        if series.window:
            name = f"Mean of the last {series.window} dates"
            style = {"color": palette.NET, "width": 2}
            traces.append(line(series.dates, series.rolling, name, style, **common))
    return _stacked(traces, list(drawn), {"tickformat": ".3~f"}, legend=True)


def net_excess(data: ReportData) -> Chart | None:
    """Mean net excess of each fold, one panel a horizon."""
    found = {h: by_fold(data.net_excess, h) for h in data.horizons}
    drawn = {h: folds for h, folds in found.items() if folds[0]}
    if not drawn:
        return None
    traces = []
    for (key, _), (folds, means) in zip(panels(len(drawn)), drawn.values(), strict=True):
        colors = [palette.BLUE if mean > 0 else palette.VERMILLION for mean in means]
        traces.append(
            {
                "type": "bar",
                "x": [f"{fold}-01" for fold in folds],
                "y": means,
                "yaxis": f"y{key}",
                "marker": {"color": colors},
                "hovertemplate": "%{y:.2%}<extra></extra>",
            }
        )
    return _stacked(traces, list(drawn), {"tickformat": ".3~p"})


def churn(data: ReportData) -> Chart | None:
    """Churn at each rebalance, one panel a horizon."""
    found = {h: churn_series(data.churn, h) for h in data.horizons}
    drawn = {h: series for h, series in found.items() if series[0]}
    if not drawn:
        return None
    limit = condition_threshold(data.gates, "practical", "churn")
    traces, limits = [], []
    for (key, _), (dates, values) in zip(panels(len(drawn)), drawn.values(), strict=True):
        bars = {"type": "bar", "x": dates, "y": values, "yaxis": f"y{key}"}
        look = {"marker": {"color": palette.PALE}, "hovertemplate": "%{y:.0%}<extra></extra>"}
        traces.append({**bars, **look})
        if limit is not None:
            limits.append(horizontal(limit, yref=f"y{key}"))
    note = (
        "" if limit is None else f"Dotted: {limit:.0%}, the practical gate's limit on the median."
    )
    fixed = {"tickformat": ".0%", "range": [0, 1.03], "tickvals": [0, 0.5, 1]}
    return _stacked(traces, list(drawn), fixed, shapes=limits, note=note)


def _stacked(
    traces: list[dict[str, Any]],
    horizons: list[int],
    scale: dict[str, Any],
    *,
    legend: bool = False,
    shapes: Sequence[dict[str, Any]] = (),
    note: str = "",
) -> Chart:
    rows = panels(len(horizons))
    tops = [domain[1] for _, domain in rows]
    figure_layout = layout(
        xaxis=axis(type="date", anchor=f"y{rows[-1][0]}"),
        annotations=[label(f"{h} sessions", top) for h, top in zip(horizons, tops, strict=True)],
        margin={"l": 48, "r": 10, "t": 50 if legend else 22, "b": 32},
        showlegend=legend,
        shapes=list(shapes),
        bargap=0.1,
        **{f"yaxis{key}": axis(domain=domain, nticks=5, **scale) for key, domain in rows},
    )
    return Chart({"data": traces, "layout": figure_layout}, 70 + 130 * len(horizons), note)

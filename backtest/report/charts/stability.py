"""Charts of what the finding hangs on: costs, capital, the first date, the end of each fold."""

from __future__ import annotations

from typing import Any

from .. import palette
from ..data import ReportData
from ..formatting import is_number
from .chart import Chart, axis, horizon_colors, label, layout, line, panels, whiskers

__all__ = ["capacity", "cost_curve", "decay", "starts"]


def cost_curve(data: ReportData) -> Chart | None:
    """Mean net excess against the round-trip cost; where a line meets 0 it breaks even."""
    configured = ((data.config or {}).get("costs") or {}).get("round_trip_bps")
    blocks = {h: data.horizon(h) for h in data.horizons}
    drawn = {
        h: b
        for h, b in blocks.items()
        if is_number(b.get("net_excess_mean")) and is_number(b.get("turnover_mean"))
    }
    if not drawn or not is_number(configured):
        return None
    known = [b["breakeven_bps"] for b in drawn.values() if is_number(b.get("breakeven_bps"))]
    # Far beyond any real cost the lines would only squeeze what matters.
    end = min(max([2.5 * configured, 30.0, *(1.25 * bps for bps in known)]), 500.0)
    traces: list[dict[str, Any]] = []
    for horizon, color in horizon_colors(data).items():
        if horizon not in drawn:
            continue
        block = drawn[horizon]

        def net(bps: float, block: dict[str, Any] = block) -> float:
            return float(
                block["net_excess_mean"] + block["turnover_mean"] * (configured - bps) / 1e4
            )

        traces.append(
            line(
                [0.0, end],
                [net(0.0), net(end)],
                f"{horizon} sessions",
                {"color": color, "width": 2},
                showlegend=True,
                hoverinfo="skip",
            )
        )
        even = block.get("breakeven_bps")
        if is_number(even) and 0 <= even <= end:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": [even],
                    "y": [0],
                    "marker": {"color": color, "size": 10, "symbol": "diamond"},
                    "showlegend": False,
                    "hovertemplate": f"{horizon} sessions break even at %{{x:.0f}} bps"
                    "<extra></extra>",
                }
            )
    figure_layout = layout(
        hovermode="closest",
        xaxis=axis(title={"text": "Round-trip cost, basis points"}, range=[0, end]),
        yaxis=axis(tickformat=".2~%"),
        shapes=[_vertical(configured)],
        margin={"l": 48, "r": 10, "t": 34, "b": 56},
    )
    note = f"Diamonds: break-even. Dotted: the configured {configured:g} bps."
    return Chart({"data": traces, "layout": figure_layout}, 300, note)


def capacity(data: ReportData) -> Chart | None:
    """Mean net excess against capital, on a logarithmic axis."""
    traces = []
    for horizon, color in horizon_colors(data).items():
        points = data.horizon(horizon).get("capacity_curve") or []
        if points:
            traces.append(
                line(
                    [point["aum"] for point in points],
                    [point["net_excess_mean"] for point in points],
                    f"{horizon} sessions",
                    {"color": color, "width": 2},
                    showlegend=True,
                    hovertemplate="%{y:.2%}",
                )
            )
    if not traces:
        return None
    figure_layout = layout(
        xaxis=axis(type="log", title={"text": "Capital, in the currency of the prices"}),
        yaxis=axis(tickformat=".2~%"),
        margin={"l": 48, "r": 10, "t": 34, "b": 56},
    )
    return Chart({"data": traces, "layout": figure_layout}, 290)


def starts(data: ReportData) -> Chart | None:
    """Mean RankIC with its interval when judging begins later, one panel a horizon."""
    found = data.metrics.get("starts") or []
    drawn = {
        h: [r for r in found if int(r["horizon"]) == h and is_number(r["rank_ic_mean"])]
        for h in data.horizons
    }
    drawn = {h: rows for h, rows in drawn.items() if len(rows) > 1}
    if not drawn:
        return None
    colors, rows = horizon_colors(data), panels(len(drawn))
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": [row["start"] for row in part],
            "y": [row["rank_ic_mean"] for row in part],
            "error_y": whiskers(part, color=colors[horizon], thickness=1.5),
            "line": {"color": colors[horizon], "width": 1},
            "marker": {"color": colors[horizon], "size": 8},
            "yaxis": f"y{key}",
            "hovertemplate": "%{y:.3f}<extra></extra>",
        }
        for (key, _), (horizon, part) in zip(rows, drawn.items(), strict=True)
    ]
    return _panelled(traces, list(drawn), ".3~f", zero=True)


def decay(data: ReportData) -> Chart | None:
    """Last third minus first third of each fold's RankICs, one panel a horizon."""
    found = data.metrics.get("decay") or []
    drawn = {h: [r for r in found if int(r["horizon"]) == h] for h in data.horizons}
    drawn = {h: rows for h, rows in drawn.items() if rows}
    if not drawn:
        return None
    traces: list[dict[str, Any]] = []
    for (key, _), rows in zip(panels(len(drawn)), drawn.values(), strict=True):
        folds = [_first_day(row["fold"]) for row in rows]
        beyond = [row["difference"] < -row["noise"] for row in rows]
        colors = [palette.VERMILLION if out else palette.PALE for out in beyond]
        bars = {"type": "bar", "x": folds, "y": [row["difference"] for row in rows]}
        look = {"marker": {"color": colors}, "hovertemplate": "%{y:.3f}<extra></extra>"}
        traces.append({**bars, **look, "yaxis": f"y{key}"})
        for sign in (1, -1):
            edge = {"color": palette.INK, "width": 1, "dash": "dot", "shape": "hvh"}
            height = [sign * row["noise"] for row in rows]
            traces.append(line(folds, height, "", edge, yaxis=f"y{key}", hoverinfo="skip"))
    note = "Dotted: the size that noise alone shows in 95 of 100 cases; orange: a fall beyond it."
    return _panelled(traces, list(drawn), ".2~f", note=note)


def _panelled(
    traces: list[dict[str, Any]],
    horizons: list[int],
    tickformat: str,
    *,
    zero: bool = False,
    note: str = "",
) -> Chart:
    rows = panels(len(horizons))
    tops = [domain[1] for _, domain in rows]
    scale = {"tickformat": tickformat, **({"rangemode": "tozero"} if zero else {})}
    figure_layout = layout(
        xaxis=axis(type="date", anchor=f"y{rows[-1][0]}"),
        annotations=[label(f"{h} sessions", top) for h, top in zip(horizons, tops, strict=True)],
        margin={"l": 48, "r": 10, "t": 22, "b": 32},
        showlegend=False,
        hovermode="closest",
        **{f"yaxis{key}": axis(domain=domain, nticks=5, **scale) for key, domain in rows},
    )
    return Chart({"data": traces, "layout": figure_layout}, 70 + 120 * len(horizons), note)


def _first_day(fold: str) -> str:
    return f"{fold}-01" if len(fold) > 4 else f"{fold}-07-01"


def _vertical(x: float) -> dict[str, Any]:
    style = {"color": palette.INK, "width": 1, "dash": "dot"}
    ends = {"xref": "x", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1}
    return {"type": "line", **ends, "line": style}

"""Charts of what the finding hangs on: costs, capital, the first date, the end of each fold."""

from __future__ import annotations

import numpy as np

from ..data import ReportData
from ..drawing import Sheet
from ..formatting import is_number
from ..page import INK, PALE, VERMILLION, horizon_colors
from .averages import known_interval

__all__ = ["capacity", "cost_curve", "decay", "starts"]


def cost_curve(data: ReportData) -> Sheet | None:
    """Mean net excess against the round-trip cost; where a line meets 0 it breaks even."""
    configured = ((data.config or {}).get("costs") or {}).get("round_trip_bps")
    blocks = {h: data.horizon(h) for h in data.horizons}
    needed = ("net_excess_mean", "turnover_mean")
    drawn = {h: b for h, b in blocks.items() if all(is_number(b.get(key)) for key in needed)}
    if not drawn or not is_number(configured):
        return None
    even = {h: b["breakeven_bps"] for h, b in drawn.items() if is_number(b.get("breakeven_bps"))}
    # Far beyond any real cost the lines would only squeeze what matters.
    end = min(max([2.5 * configured, 30.0, *(1.25 * bps for bps in even.values())]), 500.0)
    note = f"Diamonds: break-even. Dotted: the configured {configured:g} bps."
    sheet = Sheet("number", label="Round-trip cost, basis points", note=note)
    panel = sheet.panel(240, "Mean net excess", unit="%")
    colors = horizon_colors(data.horizons)
    for horizon, block in drawn.items():
        costs = np.array([0.0, end])
        net = block["net_excess_mean"] + block["turnover_mean"] * (configured - costs) / 1e4
        panel.line(costs, net, colors[horizon], f"{horizon} sessions", width=2)
        if 0 <= even.get(horizon, -1) <= end:
            panel.dots([even[horizon]], [0], colors[horizon], marker="D", size=7)
    panel.limit(configured, upright=True)
    return sheet


def capacity(data: ReportData) -> Sheet | None:
    """Mean net excess against capital, on a logarithmic axis."""
    found = {h: data.horizon(h).get("capacity_curve") for h in data.horizons}
    if not any(found.values()):
        return None
    sheet = Sheet("log", label="Capital, in the currency of the prices")
    panel = sheet.panel(230, "Mean net excess", unit="%")
    colors = horizon_colors(data.horizons)
    for horizon, points in found.items():
        if points:
            capital = [point["aum"] for point in points]
            net = [point["net_excess_mean"] for point in points]
            panel.line(capital, net, colors[horizon], f"{horizon} sessions", width=2)
    return sheet


def starts(data: ReportData) -> Sheet | None:
    """Mean RankIC with its interval when judging begins later, one panel a horizon."""
    rows = [row for row in data.metrics.get("starts") or [] if is_number(row["rank_ic_mean"])]
    found = {h: [row for row in rows if int(row["horizon"]) == h] for h in data.horizons}
    if not any(len(part) > 1 for part in found.values()):
        return None
    sheet = Sheet(label="First judged date")
    for horizon, color in horizon_colors(data.horizons).items():
        part = found[horizon]
        if len(part) < 2:
            continue
        panel = sheet.panel(86, f"{horizon} sessions, mean RankIC", zero=True)
        dates, means = [row["start"] for row in part], [row["rank_ic_mean"] for row in part]
        panel.whiskers(dates, [known_interval(row) for row in part], color)
        panel.line(dates, means, color, width=1)
        panel.dots(dates, means, color, size=7)
    return sheet


def decay(data: ReportData) -> Sheet | None:
    """Last third minus first third of each fold's RankICs, one panel a horizon."""
    rows = data.metrics.get("decay") or []
    found = {h: [row for row in rows if int(row["horizon"]) == h] for h in data.horizons}
    found = {h: part for h, part in found.items() if part}
    if not found:
        return None
    note = "Dotted: the size that noise alone shows in 95 of 100 cases; orange: a fall beyond it."
    sheet = Sheet(note=note)
    for horizon, part in found.items():
        panel = sheet.panel(86, f"{horizon} sessions, difference of RankIC")
        folds = [_first_day(row["fold"]) for row in part]
        size = np.array([row["difference"] for row in part], dtype=float)
        noise = np.array([row["noise"] for row in part], dtype=float)
        for color, which in ((PALE, size >= -noise), (VERMILLION, size < -noise)):
            panel.bars(folds, np.where(which, size, np.nan), color)
        for edge in (noise, -noise):
            panel.line(folds, edge, INK, width=1, dash="dot", steps=True)
    return sheet


def _first_day(fold: str) -> str:
    return f"{fold}-01" if len(fold) > 4 else f"{fold}-07-01"

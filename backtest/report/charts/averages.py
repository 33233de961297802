"""Charts of what all dates together say: averages with their intervals, and how far they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from ..data import ReportData
from ..drawing import Panel, Sheet
from ..formatting import is_number
from ..page import GREY, INK, PALE, VERMILLION, horizon_colors

__all__ = [
    "baselines",
    "capacity",
    "cost_curve",
    "decay",
    "quantiles",
    "rank_ic_by_horizon",
    "regimes",
    "starts",
]

Block = Mapping[str, Any]


def _interval(block: Block) -> list[float] | None:
    """The 95 % interval of a block, or None where a bound is missing."""
    bounds = block.get("ci95")
    return bounds if bounds and all(map(is_number, bounds)) else None


def rank_ic_by_horizon(data: ReportData, *, in_training: bool = False) -> Sheet | None:
    """Mean RankIC as a dot with its 95 % interval; greyed for the training period."""
    blocks = {h: data.horizon(h, in_training=in_training) for h in data.horizons}
    drawn = [h for h, block in blocks.items() if is_number(block.get("rank_ic_mean"))]
    if not drawn:
        return None
    limit = None if in_training else data.threshold("factor", "rankic")
    note = "" if limit is None else f"Dotted: {limit:g}, the factor gate's threshold."
    sheet = Sheet([str(h) for h in drawn], label="Horizon, sessions", note=note)
    panel = sheet.panel(210, "Mean RankIC", zero=True)
    colors = horizon_colors(data.horizons)
    for place, horizon in enumerate(drawn):
        color = GREY if in_training else colors[horizon]
        panel.whiskers([place], [_interval(blocks[horizon])], color)
        panel.dots([place], [blocks[horizon]["rank_ic_mean"]], color, size=9)
    if limit is not None:
        panel.limit(limit)
    return sheet


def quantiles(data: ReportData) -> Sheet | None:
    """Mean label of each score quantile, bars grouped by horizon."""
    frame = data.period("quantiles").sort("quantile")
    found = {h: frame.filter(pl.col("horizon") == h) for h in data.horizons}
    found = {h: rows for h, rows in found.items() if any(map(is_number, rows["mean_label"]))}
    if not found:
        return None
    names = sorted({number for rows in found.values() for number in rows["quantile"]})
    sheet = Sheet([f"Q{number}" for number in names])
    panel = sheet.panel(230, "Mean label", unit="%")
    colors = horizon_colors(data.horizons)
    for place, (horizon, rows) in enumerate(found.items()):
        at = [names.index(number) for number in rows["quantile"]]
        panel.bars(
            at,
            rows["mean_label"],
            colors[horizon],
            f"{horizon} sessions",
            place=place,
            of=len(found),
        )
    return sheet


def regimes(data: ReportData) -> Sheet | None:
    """Mean RankIC of each regime slice with its interval; thin slices are open circles."""
    by_horizon: dict[int, dict[str, Block]] = {}
    for row in data.metrics.get("regimes") or []:
        name = f"{row.get('kind')}: {row.get('regime')}"
        by_horizon.setdefault(int(row["horizon"]), {})[name] = row
    return _rows(data, by_horizon)


def baselines(data: ReportData) -> Sheet | None:
    """Mean RankIC of the score and of each baseline, with intervals."""
    rivals: Mapping[str, Mapping[str, Block]] = data.metrics.get("baselines") or {}
    if not rivals:
        return None
    return _rows(
        data,
        {
            h: {"This score": data.horizon(h)}
            | {name: (found or {}).get(str(h)) or {} for name, found in rivals.items()}
            for h in data.horizons
        },
    )


def _rows(data: ReportData, by_horizon: Mapping[int, Mapping[str, Block]]) -> Sheet | None:
    """A row a name, in it a dot with its interval for each horizon, the shortest on top."""
    names = list(dict.fromkeys(name for rows in by_horizon.values() for name in rows))
    known = {
        h: {n: b for n, b in rows.items() if is_number(b.get("rank_ic_mean"))}
        for h, rows in sorted(by_horizon.items())
    }
    known = {h: rows for h, rows in known.items() if rows}
    if not known:
        return None
    sheet = Sheet("number", label="Mean RankIC")
    panel = sheet.panel(len(names) * (16 + 13 * len(known)), names=names)
    colors = horizon_colors(data.horizons)
    for place, (horizon, rows) in enumerate(known.items()):
        lift = 0.76 * ((place + 0.5) / len(known) - 0.5)
        _dots(panel, rows, [names.index(name) + lift for name in rows], colors[horizon], horizon)
    return sheet


def _dots(
    panel: Panel, rows: Mapping[str, Block], places: list[float], color: str, horizon: int
) -> None:
    blocks = list(rows.values())
    panel.whiskers(places, [_interval(block) for block in blocks], color, flat=True)
    panel.dots(
        [block["rank_ic_mean"] for block in blocks],
        places,
        color,
        f"{horizon} sessions",
        hollow=[bool(block.get("thin")) for block in blocks],
    )


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
        panel.whiskers(dates, [_interval(row) for row in part], color)
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

"""Charts of averages with their intervals: horizons, quantiles, regimes, baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..data import ReportData
from ..drawing import Panel, Sheet
from ..formatting import is_number
from ..page import GREY, horizon_colors
from ..series import condition_threshold, quantile_means

__all__ = ["baselines", "known_interval", "quantiles", "rank_ic_by_horizon", "regimes"]

Block = Mapping[str, Any]


def known_interval(block: Block) -> list[float] | None:
    """The 95 % interval of a block, or None where a bound is missing."""
    bounds = block.get("ci95")
    return bounds if bounds and all(map(is_number, bounds)) else None


def rank_ic_by_horizon(data: ReportData, *, in_training: bool = False) -> Sheet | None:
    """Mean RankIC as a dot with its 95 % interval; greyed for the training period."""
    blocks = {h: data.horizon(h, in_training=in_training) for h in data.horizons}
    drawn = [h for h, block in blocks.items() if is_number(block.get("rank_ic_mean"))]
    if not drawn:
        return None
    limit = None if in_training else condition_threshold(data.gates, "factor", "rankic")
    note = "" if limit is None else f"Dotted: {limit:g}, the factor gate's threshold."
    sheet = Sheet([str(h) for h in drawn], label="Horizon, sessions", note=note)
    panel = sheet.panel(210, "Mean RankIC", zero=True)
    colors = horizon_colors(data.horizons)
    for place, horizon in enumerate(drawn):
        color = GREY if in_training else colors[horizon]
        panel.whiskers([place], [known_interval(blocks[horizon])], color)
        panel.dots([place], [blocks[horizon]["rank_ic_mean"]], color, size=9)
    if limit is not None:
        panel.limit(limit)
    return sheet


def quantiles(data: ReportData) -> Sheet | None:
    """Mean label of each score quantile, bars grouped by horizon."""
    found = {h: quantile_means(data.quantiles, h) for h in data.horizons}
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
    panel.whiskers(places, [known_interval(block) for block in blocks], color, flat=True)
    panel.dots(
        [block["rank_ic_mean"] for block in blocks],
        places,
        color,
        f"{horizon} sessions",
        hollow=[bool(block.get("thin")) for block in blocks],
    )

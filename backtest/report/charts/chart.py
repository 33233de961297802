"""The pieces every chart is made of: layout, axes, lines, labels, stacked panels.

No ticker and no file name enters a chart. Plotly reads a subset of HTML in text, so other names
that come from data are escaped by the chart that shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import palette
from ..data import ReportData
from ..formatting import is_number

__all__ = [
    "Chart",
    "axis",
    "horizon_colors",
    "horizontal",
    "label",
    "layout",
    "line",
    "panels",
    "whiskers",
]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True)
class Chart:
    """A Plotly figure, its height in pixels, and a note to stand under it."""

    figure: dict[str, Any]
    height: int
    note: str = ""


def axis(**extra: Any) -> dict[str, Any]:
    """A thin-ruled axis."""
    rules = {"gridcolor": palette.RULE, "zerolinecolor": "#8A9099", "zerolinewidth": 1}
    return {**rules, "automargin": True, **extra}


def layout(**extra: Any) -> dict[str, Any]:
    """Legend on top, no dragging (a finger must scroll the page)."""
    return {
        "font": {"family": FONT, "size": 12, "color": palette.INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 48, "r": 10, "t": 34, "b": 32},
        "legend": {"orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top"},
        "hovermode": "x unified",
        "dragmode": False,
        **extra,
    }


def line(
    x: list[Any], y: list[Any], name: str, style: dict[str, Any], **extra: Any
) -> dict[str, Any]:
    """A line trace; `style` holds color, width, dash and shape."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "name": name,
        "line": style,
        **extra,
    }


def horizontal(y: float, *, yref: str = "y") -> dict[str, Any]:
    """A dotted line across the plot or, by `yref`, across one panel."""
    style = {"color": palette.INK, "width": 1, "dash": "dot"}
    ends = {"xref": "paper", "x0": 0, "x1": 1, "yref": yref, "y0": y, "y1": y}
    return {"type": "line", **ends, "line": style}


def label(text: str, y: float, **extra: Any) -> dict[str, Any]:
    """A small heading at the left edge, its foot at height `y` of the paper."""
    place = {
        "xref": "paper",
        "x": 0,
        "xanchor": "left",
        "yref": "paper",
        "y": y,
        "yanchor": "bottom",
    }
    return {"text": text, "showarrow": False, "font": {"size": 11}, **place, **extra}


def panels(count: int, *, gap: float = 0.09) -> list[tuple[str, list[float]]]:
    """Axis number ("" for the first) and vertical domain of stacked panels, first on top."""
    height = (1 - gap * (count - 1)) / count
    tops = [1 - i * (height + gap) for i in range(count)]
    return [(str(i + 1) if i else "", [max(top - height, 0.0), top]) for i, top in enumerate(tops)]


def horizon_colors(data: ReportData) -> dict[int, str]:
    """The colour of each horizon, the same in every chart."""
    return dict(zip(data.horizons, palette.horizon_colors(len(data.horizons)), strict=True))


def whiskers(rows: list[Mapping[str, Any]], *, color: str, thickness: float) -> dict[str, Any]:
    """95 % intervals around ``rank_ic_mean``; no whisker where the interval is missing."""
    low, high = [], []
    for row in rows:
        mean, bounds = row["rank_ic_mean"], row.get("ci95")
        if not bounds or not all(map(is_number, bounds)):
            bounds = (None, None)
        low.append(None if bounds[0] is None else mean - bounds[0])
        high.append(None if bounds[1] is None else bounds[1] - mean)
    style = {"color": color, "thickness": thickness, "width": 0}
    return {"type": "data", "symmetric": False, "array": high, "arrayminus": low, **style}

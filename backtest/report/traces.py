"""What a Plotly trace shows, drawn into Matplotlib axes: bars, lines, dots with whiskers.

Only the few forms that `charts` makes are known. Text in a chart is escaped for the page and is
read back here.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Draft", "draw_trace", "number_format", "place_values"]

_DASHES = {"solid": "-", "dash": "--", "dot": ":"}
_MARKERS = {"circle": "o", "circle-open": "o", "diamond": "D"}
_POINTS_PER_PIXEL = 0.72
_GROUP = 0.8
"""Share of a category's room that its bars or dots fill together."""


@dataclass
class Draft:
    """Axes being drawn, with the layout of their x- and y-axis and the categories met so far."""

    axes: Axes
    x: dict[str, Any]
    y: dict[str, Any]
    categories: dict[str, list[str]] = field(default_factory=dict)


def draw_trace(draft: Draft, trace: dict[str, Any], place: int, count: int) -> None:
    """Draw a trace; it is number ``place`` of the ``count`` traces of its axes."""
    x, y = (place_values(draft, name, trace[name]) for name in "xy")
    text = html.unescape(trace["name"]) if "name" in trace else "_"
    if trace["type"] == "bar":
        _bars(draft, trace, x, y, text, place, count)
        return
    if draft.y.get("type") == "category":
        y = y + _GROUP * (place - (count - 1) / 2) / count
    if "lines" in trace["mode"]:
        _line(draft.axes, trace, x, y, text)
    if "markers" in trace["mode"]:
        _dots(draft.axes, trace, x, y, text)


def place_values(draft: Draft, name: str, values: Sequence[Any]) -> NDArray[Any]:
    """Values of an axis as Matplotlib takes them: days, places of categories, or numbers."""
    options = draft.x if name == "x" else draft.y
    if options.get("type") == "date":
        return np.array(values, dtype="datetime64[D]")
    if options.get("type") != "category":
        return np.array([np.nan if value is None else value for value in values], dtype=float)
    known = draft.categories.setdefault(name, list(options.get("categoryarray", [])))
    known += [value for value in values if value not in known]
    ticks = [html.unescape(value) for value in known]
    (draft.axes.set_xticks if name == "x" else draft.axes.set_yticks)(range(len(known)), ticks)
    limits = draft.axes.set_xlim if name == "x" else draft.axes.set_ylim
    limits(-0.5, len(known) - 0.5)
    return np.array([known.index(value) for value in values], dtype=float)


def number_format(form: str) -> Callable[[float, int], str]:
    """A tick's text by the d3 formats that the charts use: .0%, .2~%, .3~p, .3~f."""
    percent = form[-1] in "%p"
    digits = int(form[1])

    def text(value: float, _: int) -> str:
        shown = f"{value * 100 if percent else value:.{digits}f}"
        if "~" in form and "." in shown:
            shown = shown.rstrip("0").rstrip(".")
        return ("0" if shown == "-0" else shown) + ("%" if percent else "")

    return text


def _bars(
    draft: Draft,
    trace: dict[str, Any],
    x: NDArray[Any],
    y: NDArray[Any],
    text: str,
    place: int,
    count: int,
) -> None:
    color = trace["marker"]["color"]
    if draft.x.get("type") == "category":
        width = _GROUP / count
        draft.axes.bar(x + (place - (count - 1) / 2) * width, y, width, color=color, label=text)
        draft.axes.grid(visible=False, axis="x")
        return
    from matplotlib.collections import PolyCollection
    from matplotlib.dates import date2num

    # One collection: thousands of rectangles, each an artist of its own, take seconds.
    days = date2num(x)
    half = 0.42 * (np.diff(days).min() if len(days) > 1 else 20.0)
    zero = np.zeros(len(days))
    corners = [(days - half, zero), (days - half, y), (days + half, y), (days + half, zero)]
    outlines = np.stack([np.column_stack(corner) for corner in corners], axis=1)
    known = np.isfinite(y)
    color = list(np.array(color)[known]) if isinstance(color, list) else color
    draft.axes.xaxis_date()
    draft.axes.add_collection(PolyCollection(list(outlines[known]), facecolors=color, label=text))
    draft.axes.autoscale_view()


def _line(axes: Axes, trace: dict[str, Any], x: NDArray[Any], y: NDArray[Any], text: str) -> None:
    style = trace["line"]
    look: dict[str, Any] = {"color": style["color"], "ls": _DASHES[style.get("dash", "solid")]}
    if style.get("shape") == "hvh":
        look["drawstyle"] = "steps-mid"
    axes.plot(x, y, lw=style.get("width", 1.5) * _POINTS_PER_PIXEL, label=text, **look)
    if trace.get("fill") == "tozeroy":
        axes.fill_between(x, y, color=style["color"], alpha=0.15, lw=0)


def _dots(axes: Axes, trace: dict[str, Any], x: NDArray[Any], y: NDArray[Any], text: str) -> None:
    marker = trace["marker"]
    color, symbol = marker["color"], marker.get("symbol", "circle")
    symbols = symbol if isinstance(symbol, list) else [symbol] * len(x)
    for name, lines, values in (("error_x", axes.hlines, x), ("error_y", axes.vlines, y)):
        if name in trace:
            error = trace[name]
            low, high = (
                np.array([np.nan if v is None else v for v in error[side]], dtype=float)
                for side in ("arrayminus", "array")
            )
            across = y if name == "error_x" else x
            lines(across, values - low, values + high, color=color, lw=error["thickness"])
    size = (marker["size"] * _POINTS_PER_PIXEL) ** 2
    for kind in dict.fromkeys(symbols):
        at = [own == kind for own in symbols]
        face = "white" if kind.endswith("-open") else color
        axes.scatter(
            x[at], y[at], size, marker=_MARKERS[kind], facecolors=face, edgecolors=color,
            label=text if kind == symbols[0] else "_", zorder=3,
        )  # fmt: skip

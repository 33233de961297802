"""PNG figures: the page's charts, drawn by Matplotlib.

1. `render_figures` draws every chart, so that what the page shows and what a notebook or a pull
   request shows are the same numbers.
2. `_axes` lays one pair of axes into each vertical domain of a chart's layout.
3. `draw_trace` (`traces`) draws what stands in it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import palette
from .charts import TITLES, Chart
from .traces import Draft, draw_trace, number_format, place_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["STYLE", "render_figures"]

STYLE: dict[str, Any] = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": palette.GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": palette.RULE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
}
_WIDTH, _DPI, _PIXELS_PER_INCH = 8.0, 100, 88
_TITLE, _LEGEND, _FOOT = 0.34, 0.24, 0.62
"""Inches above and below the axes."""
_NAMES_A_LINE = 5


def render_figures(charts: Mapping[str, Chart]) -> dict[str, bytes]:
    """PNG bytes of every chart, by name. The same charts give the same bytes."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        return {name: _png(_figure(chart, TITLES[name])) for name, chart in charts.items()}


def _png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _figure(chart: Chart, title: str) -> Figure:
    from matplotlib.figure import Figure

    layout, traces = chart.figure["layout"], chart.figure["data"]
    names = sorted({trace.get("yaxis", "y") for trace in traces})
    shown = [t for t in traces if t.get("showlegend", layout.get("showlegend", True))]
    listed = len({t.get("name") for t in shown} - {None})
    named = any(note["y"] > 0.99 for note in layout.get("annotations", []))
    top = _TITLE + _LEGEND * ((math.ceil(listed / _NAMES_A_LINE) if listed > 1 else 0) + named)
    inner = chart.height / _PIXELS_PER_INCH
    height = inner + top + _FOOT
    figure = Figure(figsize=(_WIDTH, height))
    drafts = _axes(figure, layout, names, (_FOOT / height, inner / height))
    for name, draft in drafts.items():
        own = [trace for trace in traces if trace.get("yaxis", "y") == name]
        for place, trace in enumerate(own):
            draw_trace(draft, trace, place, len(own))
        _finish(draft, layout, f"yaxis{name[1:]}")
    _shapes(drafts, layout)
    for note in layout.get("annotations", []):
        figure.text(0.1, _FOOT / height + note["y"] * inner / height, note["text"], va="bottom")
    figure.text(0.02, 1 - 0.1 / height, title, va="top", size=11, weight="bold")
    figure.text(0.02, 0.08 / height, chart.note, color=palette.GREY, size=8)
    backwards = layout.get("legend", {}).get("traceorder") == "reversed"
    order = [t.get("name") for t in (shown[::-1] if backwards else shown)]
    _legend(figure, drafts, order, 1 - (_TITLE - 0.02) / height)
    return figure


def _axes(
    figure: Figure, layout: dict[str, Any], names: list[str], inside: tuple[float, float]
) -> dict[str, Draft]:
    """Axes for each y-axis of the layout, in its vertical domain; dates stand below the lowest."""
    foot, height = inside
    domains = {name: layout[f"yaxis{name[1:]}"].get("domain", [0, 1]) for name in names}
    lowest = min(names, key=lambda name: domains[name][0])
    found, first = {}, None
    left = 0.19 if layout["yaxis"].get("type") == "category" else 0.1
    for name, (low, high) in domains.items():
        box = (left, foot + low * height, 0.97 - left, (high - low) * height)
        axes: Axes = figure.add_axes(box, sharex=first)
        first = first or axes
        axes.tick_params(length=0, labelbottom=name == lowest)
        found[name] = Draft(axes, layout["xaxis"], layout[f"yaxis{name[1:]}"])
    return found


def _finish(draft: Draft, layout: dict[str, Any], key: str) -> None:
    """Limits, ticks and titles, after everything is drawn."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes, scale = draft.axes, layout[key]
    for axis, options, zero in (
        (axes.xaxis, layout["xaxis"], axes.axvline),
        (axes.yaxis, scale, axes.axhline),
    ):
        if options.get("type") in ("category", "date", "log"):
            continue
        if "range" in options:
            axis.set_view_interval(options["range"][0], options["range"][1], ignore=True)
        low, high = sorted(axis.get_view_interval())
        if options.get("rangemode") == "tozero":
            low, high = min(low, 0.0), max(high, 0.0)
            axis.set_view_interval(low, high, ignore=True)
        if low <= 0 <= high:
            zero(0, color=palette.GREY, lw=0.8, zorder=1.5)
        if "tickvals" in options:
            axis.set_ticks(options["tickvals"])
        else:
            axis.set_major_locator(MaxNLocator(options.get("nticks", 7)))
        if "tickformat" in options:
            axis.set_major_formatter(FuncFormatter(number_format(options["tickformat"])))
    if "title" in layout["xaxis"]:
        axes.set_xlabel(layout["xaxis"]["title"]["text"])
    if layout["xaxis"].get("type") == "log":
        axes.set_xscale("log")


def _shapes(drafts: dict[str, Draft], layout: dict[str, Any]) -> None:
    """Dotted lines across a panel, or through all of them."""
    for shape in layout.get("shapes", []):
        look = {"color": shape["line"]["color"], "lw": 1.0, "ls": ":"}
        if shape["xref"] == "paper":
            drafts[shape["yref"]].axes.axhline(shape["y0"], **look)
        else:
            for draft in drafts.values():
                draft.axes.axvline(place_values(draft, "x", [shape["x0"]])[0], **look)


def _legend(figure: Figure, drafts: dict[str, Draft], order: list[str | None], top: float) -> None:
    """The names under the title, in the order given, where there are several."""
    known: dict[str, Any] = {}
    for draft in drafts.values():
        handles, names = draft.axes.get_legend_handles_labels()
        known = dict(zip(names, handles, strict=True)) | known
    names = [name for name in dict.fromkeys(order) if name in known]
    if len(names) > 1:
        where = {
            "loc": "upper left",
            "bbox_to_anchor": (0.09, top),
            "ncols": min(len(names), _NAMES_A_LINE),
        }
        figure.legend([known[name] for name in names], names, borderaxespad=0.0, **where)

"""The portfolio over time: profit of its legs, exposure, turnover and beta."""

from __future__ import annotations

from typing import Any

from .. import palette
from ..data import ReportData
from ..series import AttributionSeries, attribution_series
from .chart import Chart, axis, label, layout, line, panels

__all__ = ["attribution"]

TITLES = ("Profit of each leg, costs", "Exposure", "Turnover", "Beta to the benchmark")


def attribution(data: ReportData) -> Chart | None:
    """Four panels: cumulative profits and costs, exposures, turnover, rolling beta."""
    series = attribution_series(data.attribution)
    if series is None:
        return None
    drawn = _panels(series)
    rows = panels(len(drawn))
    axes: dict[str, Any] = {}
    notes, traces = [], []
    for (key, domain), (title, curves) in zip(rows, drawn, strict=True):
        spelled = ".2f" if title == TITLES[3] else ".0%"
        axes[f"yaxis{key}"] = axis(domain=domain, tickformat=spelled, nticks=4)
        notes.append(label(title, domain[1] + 0.005))
        for name, values, color, dash in curves:
            traces.append(
                line(
                    series.dates,
                    values,
                    name,
                    {"color": color, "dash": dash, "width": 1.6},
                    yaxis=f"y{key}",
                    hovertemplate="%{y:" + (".2f" if title == TITLES[3] else ".1%") + "}",
                )
            )
    last = rows[-1][0]
    figure_layout = layout(xaxis=axis(type="date", anchor=f"y{last}"), annotations=notes, **axes)
    note = f"Every {series.step} sessions." if series.step > 1 else ""
    return Chart({"data": traces, "layout": figure_layout}, 150 * len(drawn) + 60, note)


def _panels(series: AttributionSeries) -> list[tuple[str, list[tuple[str, Any, str, str]]]]:
    drawn = [
        (
            TITLES[0],
            [
                ("Long", series.long, palette.NET, "solid"),
                ("Short", series.short, palette.VERMILLION, "solid"),
                ("Costs", series.cost, palette.GREY, "dot"),
            ],
        ),
        (
            TITLES[1],
            [
                ("Long exposure", series.long_exposure, palette.NET, "dash"),
                ("Short exposure", series.short_exposure, palette.VERMILLION, "dash"),
            ],
        ),
        (TITLES[2], [("Turnover", series.turnover, palette.GREY, "solid")]),
    ]
    if any(value is not None for value in series.beta):
        drawn.append((TITLES[3], [("Beta", series.beta, palette.INK, "solid")]))
    return drawn

"""PNG figures by Matplotlib, the static counterparts of the page's charts."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import palette
from .charts.chart import horizon_colors
from .data import ReportData
from .formatting import is_number
from .series import (
    attribution_series,
    churn_series,
    condition_threshold,
    performance,
    quantile_means,
    rank_ic_series,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FIGURE_NAMES", "render_figures"]

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
WIDTH = 8.0


def render_figures(data: ReportData) -> dict[str, bytes]:
    """PNG bytes of every figure that has something to show, by name."""
    import matplotlib

    drawn = {}
    with matplotlib.rc_context(STYLE):
        for name, draw in DRAWINGS.items():
            figure = draw(data)
            if figure is not None:
                drawn[name] = _png(figure)
    return drawn


def _png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _panels(rows: int, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False, **options)
    return figure, list(axes[:, 0])


def _as_percent(axis: Any, decimals: int | None = None) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=decimals))


def _numbers(values: list[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _equity(data: ReportData) -> Figure | None:
    curves = performance(data.returns)
    if curves is None:
        return None
    figure, (top, bottom) = _panels(2, 5.0, sharex=True, height_ratios=[2, 1])
    looks = {
        "net": (palette.NET, "-", 1.8),
        "gross": (palette.GROSS, "--", 1.2),
        "benchmark": (palette.BENCHMARK, ":", 1.4),
    }
    dates: Any = curves.dates
    for name, (color, style, width) in looks.items():
        if name not in curves.cumulative:
            continue
        look: dict[str, Any] = {"color": color, "ls": style}
        top.plot(
            dates, _numbers(curves.cumulative[name]), label=name.capitalize(), lw=width, **look
        )
        if name != "gross":
            bottom.plot(dates, _numbers(curves.drawdown[name]), lw=1.0, **look)
    if "net" in curves.drawdown:
        bottom.fill_between(dates, _numbers(curves.drawdown["net"]), color=palette.NET, alpha=0.15)
    top.set_title("Cumulative return")
    bottom.set_title("Drawdown")
    top.legend(ncols=3, loc="upper left")
    for ax in (top, bottom):
        ax.axhline(0, color=palette.GREY, lw=0.8)
        _as_percent(ax.yaxis)
    return figure


def _attribution(data: ReportData) -> Figure | None:
    series = attribution_series(data.attribution)
    if series is None:
        return None
    known = any(value is not None for value in series.beta)
    figure, axes = _panels(3 + known, 6.0 + 1.4 * known, sharex=True)
    dates: Any = series.dates
    curves = [
        (series.long, "Long", palette.NET, "-"),
        (series.short, "Short", palette.VERMILLION, "-"),
        (series.cost, "Costs", palette.GREY, ":"),
    ]
    for values, name, color, style in curves:
        axes[0].plot(dates, _numbers(values), label=name, color=color, ls=style, lw=1.6)
    axes[0].legend(ncols=3, loc="upper left")
    axes[0].set_title("Cumulative profit of each leg before costs, and costs, of starting capital")
    axes[1].plot(dates, _numbers(series.long_exposure), color=palette.NET, lw=1.2)
    axes[1].plot(dates, _numbers(series.short_exposure), color=palette.VERMILLION, lw=1.2)
    axes[1].set_title("Long and short exposure, of equity")
    axes[2].vlines(dates, 0, _numbers(series.turnover), color=palette.GREY, lw=1.0)
    axes[2].set_title("Turnover")
    for ax in axes[:3]:
        _as_percent(ax.yaxis)
    if known:
        axes[3].plot(dates, _numbers(series.beta), color=palette.INK, lw=1.2)
        axes[3].axhline(0, color=palette.GREY, lw=0.8)
        axes[3].set_title("Beta to the benchmark")
    return figure


def _rank_ic(data: ReportData) -> Figure | None:
    rebalance = data.run.get("rebalance")
    found = {h: rank_ic_series(data.ic, h, rebalance=rebalance) for h in data.horizons}
    drawn = {h: series for h, series in found.items() if series is not None}
    if not drawn:
        return None
    figure, axes = _panels(len(drawn), 0.6 + 1.7 * len(drawn), sharex=True)
    for ax, (horizon, series) in zip(axes, drawn.items(), strict=True):
        dates: Any = series.dates
        ax.vlines(dates, 0, _numbers(series.values), color=palette.PALE, lw=_stem_width(len(dates)))
        if series.window:
            ax.plot(dates, _numbers(series.rolling), color=palette.NET, lw=1.6)
        ax.axhline(0, color=palette.GREY, lw=0.8)
        mean = f" (line: mean of the last {series.window} dates)" if series.window else ""
        ax.set_title(f"RankIC, {horizon} sessions{mean}")
    return figure


def _stem_width(count: int) -> float:
    return max(0.4, min(8.0, 300.0 / count))


def _rank_ic_by_horizon(data: ReportData) -> Figure | None:
    blocks = {h: data.horizon(h) for h in data.horizons}
    shown = [h for h in data.horizons if is_number(blocks[h].get("rank_ic_mean"))]
    if not shown:
        return None
    figure, (ax,) = _panels(1, 3.0)
    colors = horizon_colors(data)
    for place, horizon in enumerate(shown):
        mean, bounds = blocks[horizon]["rank_ic_mean"], blocks[horizon].get("ci95")
        if bounds and all(map(is_number, bounds)):
            ax.vlines(place, *bounds, color=colors[horizon], lw=2.2)
        ax.plot(place, mean, "o", color=colors[horizon], ms=8)
        ax.annotate(f"{mean:.3f}", (place, mean), xytext=(9, -3), textcoords="offset points")
    threshold, dotted = condition_threshold(data.gates, "factor", "rankic"), ""
    if threshold is not None:
        ax.axhline(threshold, color=palette.INK, lw=1, ls=":")
        dotted = f" (dotted: the factor gate's threshold, {threshold:g})"
    ax.axhline(0, color=palette.GREY, lw=0.8)
    ax.set_xticks(range(len(shown)), [str(h) for h in shown])
    ax.set_xlim(-0.6, len(shown) - 0.4)
    ax.set_xlabel("Horizon, sessions")
    ax.set_title(f"Mean RankIC with its 95% interval{dotted}")
    return figure


def _quantiles(data: ReportData) -> Figure | None:
    found = {h: quantile_means(data.quantiles, h) for h in data.horizons}
    drawn = {h: f for h, f in found.items() if any(map(is_number, f[1]))}
    if not drawn:
        return None
    figure, (ax,) = _panels(1, 3.2)
    width, colors = 0.8 / len(drawn), horizon_colors(data)
    for i, (horizon, (quantiles, means)) in enumerate(drawn.items()):
        places = [q + (i - (len(drawn) - 1) / 2) * width for q in quantiles]
        ax.bar(places, _numbers(means), width, color=colors[horizon], label=f"{horizon} sessions")
    numbers = sorted({q for quantiles, _ in drawn.values() for q in quantiles})
    ax.set_xticks(numbers, [f"Q{q}" for q in numbers])
    ax.grid(visible=False, axis="x")
    ax.axhline(0, color=palette.GREY, lw=0.8)
    _as_percent(ax.yaxis)
    ax.legend(ncols=len(drawn), loc="best")
    ax.set_title("Mean label by score quantile (Q1: lowest scores)")
    return figure


def _churn(data: ReportData) -> Figure | None:
    found = {h: churn_series(data.churn, h) for h in data.horizons}
    drawn = {h: f for h, f in found.items() if f[0]}
    if not drawn:
        return None
    limit = condition_threshold(data.gates, "practical", "churn")
    figure, axes = _panels(len(drawn), 0.6 + 1.5 * len(drawn), sharex=True)
    for ax, (horizon, (dates, values)) in zip(axes, drawn.items(), strict=True):
        ax.vlines(np.array(dates), 0, values, color=palette.PALE, lw=_stem_width(len(dates)))
        if limit is not None:
            ax.axhline(limit, color=palette.INK, lw=1, ls=":")
        ax.set_ylim(0, 1.03)
        _as_percent(ax.yaxis, 0)
        dotted = "" if limit is None else f" (dotted: the gate's limit on the median, {limit:.0%})"
        ax.set_title(f"Share of the Top-K replaced, {horizon} sessions{dotted}")
    return figure


def _regimes(data: ReportData) -> Figure | None:
    slices = [s for s in data.metrics.get("regimes") or [] if is_number(s.get("rank_ic_mean"))]
    if not slices:
        return None
    names = list(dict.fromkeys((s["kind"], s["regime"]) for s in slices))
    horizons = sorted({int(s["horizon"]) for s in slices})
    figure, (ax,) = _panels(1, 1.2 + len(names) * (0.15 + 0.17 * len(horizons)))
    colors, step = horizon_colors(data), 0.7 / len(horizons)
    for s in slices:
        i, mean, bounds = horizons.index(int(s["horizon"])), s["rank_ic_mean"], s.get("ci95")
        place = names.index((s["kind"], s["regime"])) + (i - (len(horizons) - 1) / 2) * step
        color = colors.get(horizons[i], palette.BLUE)
        if bounds and all(map(is_number, bounds)):
            ax.hlines(place, *bounds, color=color, lw=1.6)
        ax.plot(mean, place, "o", color=color, mfc="white" if s.get("thin") else color, ms=6)
    ax.axvline(0, color=palette.GREY, lw=0.8)
    ax.set_yticks(range(len(names)), [f"{kind}: {regime}" for kind, regime in names])
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    _horizon_legend(figure, horizons, colors)
    ax.set_title("RankIC by market regime with 95% intervals (open: thin, not judged)")
    return figure


def _horizon_legend(figure: Figure, horizons: list[int], colors: dict[int, str]) -> None:
    from matplotlib.patches import Patch

    patches = [Patch(color=colors.get(h, palette.BLUE), label=f"{h} sessions") for h in horizons]
    figure.legend(handles=patches, ncols=len(patches), loc="outside lower center")


DRAWINGS: dict[str, Callable[[ReportData], Figure | None]] = {
    "equity": _equity,
    "attribution": _attribution,
    "rank_ic": _rank_ic,
    "rank_ic_by_horizon": _rank_ic_by_horizon,
    "quantiles": _quantiles,
    "churn": _churn,
    "regimes": _regimes,
}
FIGURE_NAMES = tuple(DRAWINGS)

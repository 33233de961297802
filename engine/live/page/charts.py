"""Three drawings of a day as SVG: forecast against return, live RankIC, slippage."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from backtest.report import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from engine.live.page.daily import Daily

__all__ = ["draw_charts"]

STYLE = {
    "font.size": 10,
    "font.family": "sans-serif",
    "svg.fonttype": "none",
    "svg.hashsalt": "daily",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": palette.GREY,
    "text.color": palette.INK,
    "axes.labelcolor": palette.INK,
}


def draw_charts(day: Daily) -> dict[str, str]:
    """Name → SVG text of those that have something to show; the same figures, the same bytes."""
    drawn = {"outcome": _outcome(day), "rank_ic": _rank_ic(day), "slippage": _slippage(day)}
    return {name: text for name, text in drawn.items() if text is not None}


def _outcome(day: Daily) -> str | None:
    """Score against return, the held names marked by side."""
    known = day.outcome.filter(pl.col("return").is_finite(), pl.col("score").is_finite())
    if known.is_empty():
        return None

    def draw(axes: Axes) -> None:
        sides = [
            ("not held", pl.col("target_weight") == 0, palette.GREY, "."),
            ("long", pl.col("target_weight") > 0, palette.BLUE, "^"),
            ("short", pl.col("target_weight") < 0, palette.VERMILLION, "v"),
        ]
        for name, which, color, marker in sides:
            rows = known.filter(which)
            if rows.height:
                x, y = (100 * rows[key].to_numpy() for key in ("score", "return"))
                axes.scatter(x, y, c=color, marker=marker, s=36, label=name, linewidths=0)
        axes.axhline(0, color=palette.RULE, lw=1, zorder=0)
        axes.axvline(0, color=palette.RULE, lw=1, zorder=0)
        axes.set_xlabel("score, % to the horizon")
        axes.set_ylabel("return since, %")
        _legend(axes)

    return _svg(draw)


def _rank_ic(day: Daily) -> str | None:
    """RankIC of each matured date, its running mean, and the backtest's interval behind them."""
    if day.standing is None:
        return None
    horizon = pl.col("horizon") == day.standing.horizon
    judged = day.ic.filter(horizon, pl.col("status") == "judged").sort("asof")
    if judged.is_empty():
        return None
    standing = day.standing

    def draw(axes: Axes) -> None:
        values = judged["rank_ic"].to_numpy()
        dates = judged["asof"].to_numpy().astype("datetime64[D]").astype(object)
        if standing.lo is not None and standing.hi is not None:
            axes.axhspan(
                standing.lo, standing.hi, color=palette.PALE, alpha=0.45, lw=0,
                label="backtest, 95%",
            )  # fmt: skip
        axes.plot(dates, values, ".", color=palette.GREY, ms=5, label="RankIC of a date")
        running = np.cumsum(values) / np.arange(1, len(values) + 1)
        axes.plot(dates, running, color=palette.BLUE, lw=2, label="live mean so far")
        axes.axhline(0, color=palette.INK, lw=0.8, ls=":")
        axes.set_ylabel("RankIC")
        axes.figure.autofmt_xdate(rotation=30)
        _legend(axes)

    return _svg(draw)


def _slippage(day: Daily) -> str | None:
    """Value-weighted slippage of each day beside the assumed cost."""
    known = day.fills.filter(pl.col("slippage_bps").is_finite(), pl.col("value") > 0)
    if known.is_empty():
        return None
    by_day = (
        known.group_by("session")
        .agg(
            ((pl.col(name) * pl.col("value")).sum() / pl.col("value").sum()).alias(name)
            for name in ("slippage_bps", "assumed_bps")
        )
        .sort("session")
    )

    def draw(axes: Axes) -> None:
        dates = [str(session) for session in by_day["session"]]
        places = np.arange(len(dates))
        axes.bar(places, by_day["slippage_bps"].to_numpy(), color=palette.BLUE, label="paid")
        assumed = by_day["assumed_bps"].to_numpy()
        axes.plot(places, assumed, "_", color=palette.INK, ms=12, mew=2, label="assumed")
        step = max(1, len(dates) // 6)
        axes.set_xticks(places[::step], dates[::step], rotation=30, ha="right")
        axes.axhline(0, color=palette.INK, lw=0.8)
        axes.set_ylabel("bps of the value")
        _legend(axes)

    return _svg(draw)


def _legend(axes: Axes) -> None:
    """Above the plot, where it hides nothing."""
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))


def _svg(draw: Any) -> str:
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # a page needs neither XML head nor metadata
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)

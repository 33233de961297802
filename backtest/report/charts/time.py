"""Charts along time: return and drawdown, legs and exposure, RankIC, churn, net excess."""

from __future__ import annotations

import polars as pl

from ..data import ReportData
from ..drawing import Sheet
from ..page import BLUE, GREY, INK, ORANGE, PALE, VERMILLION
from ..series import (
    attribution_series,
    by_fold,
    condition_threshold,
    dated_series,
    performance,
    rank_ic_series,
)

__all__ = ["attribution", "churn", "equity", "net_excess", "rank_ic"]

CURVES = {
    "net": ("Net", BLUE, "solid"),
    "gross": ("Gross", ORANGE, "dash"),
    "benchmark": ("Benchmark", GREY, "dot"),
}


def equity(data: ReportData, *, in_training: bool = False) -> Sheet | None:
    """Compounded return above, drawdown below; greyed for the training period."""
    found = performance(data.returns, in_training=in_training)
    if found is None:
        return None
    curves, step = found
    sheet = Sheet(note=f"Every {step} sessions; the lowest points are kept." if step > 1 else "")
    above = sheet.panel(170 if in_training else 230, "Return so far", unit="%")
    below = sheet.panel(90 if in_training else 110, "Drawdown", unit="%", zero=True)
    for key, (name, color, dash) in CURVES.items():
        if key not in curves.columns:
            continue
        shade = GREY if in_training else color
        width = 2.2 if key == "net" else 1.5
        above.line(curves["date"], curves[key], shade, name, width=width, dash=dash)
        lowest = curves[f"{key}_drawdown"]
        if key == "net":
            below.area(curves["date"], lowest, shade)
        if key != "gross":
            below.line(curves["date"], lowest, shade, name, width=1.2, dash=dash)
    return sheet


def attribution(data: ReportData) -> Sheet | None:
    """Four panels: cumulative profits and costs, exposures, turnover, rolling beta."""
    found = attribution_series(data.attribution)
    if found is None:
        return None
    rows, step = found
    sheet = Sheet(note=f"Every {step} sessions." if step > 1 else "")
    dates = rows["date"]
    profit = sheet.panel(95, "Profit of each leg, costs", unit="%")
    profit.line(dates, rows["long"], BLUE, "Long")
    profit.line(dates, rows["short"], VERMILLION, "Short")
    profit.line(dates, rows["cost"], GREY, "Costs", dash="dot")
    exposure = sheet.panel(95, "Exposure", unit="%")
    exposure.line(dates, rows["long_exposure"], BLUE, "Long exposure", dash="dash")
    exposure.line(dates, rows["short_exposure"], VERMILLION, "Short exposure", dash="dash")
    sheet.panel(95, "Turnover", unit="%").line(dates, rows["turnover"], GREY, "Turnover")
    if rows["beta"].is_not_null().any():
        sheet.panel(95, "Beta to the benchmark").line(dates, rows["beta"], INK, "Beta")
    return sheet


def rank_ic(data: ReportData) -> Sheet | None:
    """RankIC of each date and its trailing mean, one panel a horizon."""
    found = {h: dated_series(data.ic, "rank_ic", h) for h in data.horizons}
    found = {h: rows for h, rows in found.items() if rows.height}
    if not found:
        return None
    sheet = Sheet()
    for horizon, rows in found.items():
        panel = sheet.panel(92, f"{horizon} sessions, RankIC")
        panel.bars(rows["asof"], rows["rank_ic"], PALE, "RankIC of the date")
        means, window = rank_ic_series(data.ic, horizon, rebalance=data.run.get("rebalance"))
        if window:
            name = f"Mean of the last {window} dates"
            panel.line(means["asof"], means["mean"], BLUE, name, width=2)
    return sheet


def net_excess(data: ReportData) -> Sheet | None:
    """Mean net excess of each fold, one panel a horizon."""
    found = {h: by_fold(data.net_excess, h) for h in data.horizons}
    found = {h: rows for h, rows in found.items() if rows.height}
    if not found:
        return None
    sheet = Sheet()
    gain = pl.col("net_excess") > 0
    for horizon, rows in found.items():
        panel = sheet.panel(92, f"{horizon} sessions, net excess", unit="%")
        rows = rows.with_columns(pl.col("fold") + "-01")
        for color, side in ((BLUE, gain), (VERMILLION, ~gain)):
            kept = pl.when(side).then(pl.col("net_excess"))
            panel.bars(rows["fold"], rows.select(kept).to_series(), color)
    return sheet


def churn(data: ReportData) -> Sheet | None:
    """Churn at each rebalance, one panel a horizon."""
    found = {h: dated_series(data.churn, "churn", h) for h in data.horizons}
    found = {h: rows for h, rows in found.items() if rows.height}
    if not found:
        return None
    limit = condition_threshold(data.gates, "practical", "churn")
    note = f"Dotted: {limit:.0%}, the practical gate's limit on the median." if limit else ""
    sheet = Sheet(note=note)
    for horizon, rows in found.items():
        panel = sheet.panel(
            82, f"{horizon} sessions, share replaced", unit="%", limits=(0, 1.03), ticks=(0, 0.5, 1)
        )
        panel.bars(rows["asof"], rows["churn"], PALE)
        if limit is not None:
            panel.limit(limit)
    return sheet

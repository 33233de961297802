"""Charts along time: return and drawdown, legs and exposure, RankIC, churn, net excess."""

from __future__ import annotations

import numpy as np
import polars as pl

from ..data import ReportData
from ..drawing import Sheet
from ..page import BLUE, GREY, INK, ORANGE, PALE, VERMILLION

__all__ = ["attribution", "churn", "equity", "net_excess", "performance", "rank_ic", "rolling"]

ROLLING_DATES = {"daily": 63, "weekly": 26, "monthly": 12}

CURVES = {
    "net": ("Net", BLUE, "solid"),
    "gross": ("Gross", ORANGE, "dash"),
    "benchmark": ("Benchmark", GREY, "dot"),
}


def equity(data: ReportData, *, in_training: bool = False) -> Sheet | None:
    """Compounded return above, drawdown below; greyed for the training period."""
    curves = performance(data.period("returns", in_training=in_training))
    if curves is None:
        return None
    sheet = Sheet()
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
    rows = data.attribution.sort("date")
    if rows.is_empty():
        return None
    sheet = Sheet()
    dates = rows["date"]
    profit = sheet.panel(95, "Profit of each leg, costs", unit="%")
    profit.line(dates, rows["long"].cum_sum(), BLUE, "Long")
    profit.line(dates, rows["short"].cum_sum(), VERMILLION, "Short")
    profit.line(dates, -rows["cost"].cum_sum(), GREY, "Costs", dash="dot")
    exposure = sheet.panel(95, "Exposure", unit="%")
    exposure.line(dates, rows["long_exposure"], BLUE, "Long exposure", dash="dash")
    exposure.line(dates, rows["short_exposure"], VERMILLION, "Short exposure", dash="dash")
    sheet.panel(95, "Turnover", unit="%").line(dates, rows["turnover"], GREY, "Turnover")
    if rows["beta"].is_not_null().any():
        sheet.panel(95, "Beta to the benchmark").line(dates, rows["beta"], INK, "Beta")
    return sheet


def rank_ic(data: ReportData) -> Sheet | None:
    """RankIC of each date and its trailing mean, one panel a horizon."""
    found = _by_horizon(data, "ic", "rank_ic")
    if not found:
        return None
    sheet = Sheet()
    for horizon, rows in found.items():
        panel = sheet.panel(92, f"{horizon} sessions, RankIC")
        panel.bars(rows["asof"], rows["rank_ic"], PALE, "RankIC of the date")
        window = rolling(rows.height, data.run.get("rebalance"))
        if window:
            means = rows["rank_ic"].rolling_mean(window)
            panel.line(rows["asof"], means, BLUE, f"Mean of the last {window} dates", width=2)
    return sheet


def net_excess(data: ReportData) -> Sheet | None:
    """Mean net excess of each fold, one panel a horizon."""
    found = _by_horizon(data, "net_excess", "net_excess")
    if not found:
        return None
    sheet = Sheet()
    gain = pl.col("net_excess") > 0
    for horizon, dates in found.items():
        rows = dates.group_by("fold").agg(pl.col("net_excess").mean()).sort("fold")
        panel = sheet.panel(92, f"{horizon} sessions, net excess", unit="%")
        rows = rows.with_columns(pl.col("fold") + "-01")
        for color, side in ((BLUE, gain), (VERMILLION, ~gain)):
            kept = pl.when(side).then(pl.col("net_excess"))
            panel.bars(rows["fold"], rows.select(kept).to_series(), color)
    return sheet


def churn(data: ReportData) -> Sheet | None:
    """Churn at each rebalance, one panel a horizon."""
    found = _by_horizon(data, "churn", "churn")
    if not found:
        return None
    limit = data.threshold("practical", "churn")
    note = f"Dotted: {limit:.0%}, the practical gate's limit on the median." if limit else ""
    sheet = Sheet(note=note)
    for horizon, rows in found.items():
        panel = sheet.panel(82, f"{horizon} sessions, share replaced", unit="%", ticks=(0, 0.5, 1))
        panel.bars(rows["asof"], rows["churn"], PALE)
        if limit is not None:
            panel.limit(limit)
    return sheet


def _by_horizon(data: ReportData, frame: str, value: str) -> dict[int, pl.DataFrame]:
    """The judged dates that have a value, by horizon; horizons without one are left out."""
    known = data.period(frame).filter(pl.col(value).is_not_null()).sort("asof")
    found = {h: known.filter(pl.col("horizon") == h) for h in data.horizons}
    return {h: rows for h, rows in found.items() if rows.height}


def performance(returns: pl.DataFrame) -> pl.DataFrame | None:
    """date and, of net, gross and benchmark where known, the return so far and ``…_drawdown``,
    null before a series starts; None without a session.
    """
    frame = returns.sort("date")
    columns = {"date": frame["date"]}
    for name in CURVES:
        daily = frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        if not np.isfinite(daily).any():
            continue
        # A missing day after the first earns nothing.
        started = np.maximum.accumulate(np.isfinite(daily))
        wealth = np.cumprod(1 + np.nan_to_num(daily, nan=0.0))
        drawdown = wealth / np.maximum.accumulate(np.maximum(wealth, 1.0)) - 1
        for key, values in ((name, wealth - 1), (f"{name}_drawdown", drawdown)):
            columns[key] = pl.Series(np.where(started, values, np.nan), nan_to_null=True)
    return pl.DataFrame(columns) if len(columns) > 1 else None


def rolling(dates: int, rebalance: str | None) -> int:
    """Dates of a trailing mean: a year of monthly, half a year of weekly or a quarter of daily
    ones, at most a quarter of all; 0 (no mean) below three.
    """
    window = min(ROLLING_DATES.get(rebalance or "", 12), dates // 4)
    return window if window >= 3 else 0

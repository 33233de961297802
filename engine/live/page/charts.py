"""Three charts of a day: forecast against return, live RankIC, slippage."""

from __future__ import annotations

import numpy as np
import polars as pl

from backtest.report.drawing import Sheet
from backtest.report.page import BLUE, GREY, INK, PALE, VERMILLION
from engine.live.page.daily import Daily

__all__ = ["draw_charts"]

HEIGHT = 230


def draw_charts(day: Daily) -> dict[str, Sheet]:
    """Those that have something to show, by name."""
    drawn = {"outcome": _outcome(day), "rank_ic": _rank_ic(day), "slippage": _slippage(day)}
    return {name: sheet for name, sheet in drawn.items() if sheet is not None}


def _outcome(day: Daily) -> Sheet | None:
    """Score against return, the held names marked by side."""
    known = day.outcome.filter(pl.col("return").is_finite(), pl.col("score").is_finite())
    if known.is_empty():
        return None
    sheet = Sheet("number", label="Score, % to the horizon")
    panel = sheet.panel(HEIGHT, "Return since, %")
    weight = pl.col("target_weight")
    for name, which, color, marker in (
        ("not held", weight == 0, GREY, "."),
        ("long", weight > 0, BLUE, "^"),
        ("short", weight < 0, VERMILLION, "v"),
    ):
        rows = known.filter(which)
        if rows.height:
            x, y = (100 * rows[key].to_numpy() for key in ("score", "return"))
            panel.dots(x, y, color, name, marker=marker, size=7)
    return sheet


def _rank_ic(day: Daily) -> Sheet | None:
    """RankIC of each matured date, its running mean, and the backtest's interval behind them."""
    if day.standing is None:
        return None
    standing = day.standing
    horizon = pl.col("horizon") == standing.horizon
    judged = day.ic.filter(horizon, pl.col("status") == "judged").sort("asof")
    if judged.is_empty():
        return None
    sheet = Sheet()
    panel = sheet.panel(HEIGHT, "RankIC", zero=True)
    if standing.lo is not None and standing.hi is not None:
        panel.band(standing.lo, standing.hi, PALE, "backtest, 95%")
    values = judged["rank_ic"].to_numpy()
    panel.dots(judged["asof"], values, GREY, "RankIC of a date", size=4)
    running = np.cumsum(values) / np.arange(1, len(values) + 1)
    panel.line(judged["asof"], running, BLUE, "live mean so far", width=2)
    return sheet


def _slippage(day: Daily) -> Sheet | None:
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
    sheet = Sheet()
    panel = sheet.panel(HEIGHT, "Basis points of the value", zero=True)
    panel.bars(by_day["session"], by_day["slippage_bps"], BLUE, "paid")
    panel.dots(by_day["session"], by_day["assumed_bps"], INK, "assumed", marker="_", size=14)
    return sheet

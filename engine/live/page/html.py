"""The day's figures as one page: text, tables and drawings, nothing loaded from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from backtest.report.formatting import decimal, is_number, percent, share
from backtest.report.page import page_templates
from engine.live.page.charts import draw_charts
from engine.live.page.daily import Daily
from engine.live.page.tracking import Standing
from engine.signals.html import signals_style

__all__ = ["render_page"]

TEMPLATES = Path(__file__).parent / "templates"
VERDICTS = {
    "inside": "inside the backtest's interval",
    "outside": "outside the backtest's interval",
    "few": "too few matured dates to say",
    "unknown": "no backtest to compare with",
}


def render_page(day: Daily) -> str:
    """The page as text. Everything from data is escaped; the same figures give the same bytes."""
    from markupsafe import Markup

    environment = page_templates(TEMPLATES)
    return environment.get_template("daily.html.j2").render(
        day=day,
        headline=_headline(day),
        style=Markup(signals_style()),
        charts=draw_charts(day),
        figures=_figures(day),
        standing=_standing(day.standing),
        held=_held(day.outcome),
        fills=_fills(day),
    )


def _headline(day: Daily) -> str:
    if day.alerts:
        return f"{len(day.alerts)} thing{'s' * (len(day.alerts) > 1)} to look at"
    return "Nothing alarming" if day.signalled else "No earlier signals yet"


def _figures(day: Daily) -> list[tuple[str, str]]:
    return [
        ("return of the last targets, before costs", percent(day.book)),
        ("RankIC of the last signals so far", decimal(day.outcome_ic)),
        ("held names that went their way", share(day.hits)),
        ("slippage a trade", _bps(day.cost.mean)),
        ("the backtest's assumption", _bps(day.assumed_bps)),
        ("signals by the fallback", str(day.fallbacks)),
    ]


def _bps(value: float | None) -> str:
    return f"{value:.1f} bps" if is_number(value) else "n/a"


def _standing(standing: Standing | None) -> list[tuple[str, str]]:
    if standing is None:
        return []
    live = standing.live
    own = (
        f" [{live.lo:+.3f}, {live.hi:+.3f}]" if live.lo is not None and live.hi is not None else ""
    )
    back = f" [{standing.lo:+.3f}, {standing.hi:+.3f}]" if standing.lo is not None else ""
    return [
        ("horizon, sessions", str(standing.horizon)),
        ("live RankIC, 95% interval", f"{decimal(live.mean)}{own}"),
        ("matured live dates", str(live.n)),
        ("backtest's RankIC, 95% interval", f"{decimal(standing.mean)}{back}"),
        ("verdict", VERDICTS[standing.verdict]),
    ]


def _held(outcome: pl.DataFrame) -> list[dict[str, Any]]:
    held = outcome.filter(pl.col("target_weight") != 0)
    return [
        {
            "ticker": row["ticker"],
            "rank": row["rank"],
            "score": percent(row["score"]),
            "weight": percent(row["target_weight"]),
            "return": percent(row["return"]),
            "gain": percent(row["return"] * row["target_weight"])
            if is_number(row["return"])
            else "n/a",
        }
        for row in held.iter_rows(named=True)
    ]


def _fills(day: Daily) -> list[dict[str, str]]:
    today = day.fills.filter(pl.col("session") == day.session)
    return [
        {
            "ticker": row["ticker"],
            "side": row["side"],
            "quantity": f"{row['quantity']:,.6g}",
            "price": f"{row['price']:,.4g}" if row["price"] < 1 else f"{row['price']:,.2f}",
            "slippage": _bps(row["slippage_bps"]),
            "drift": _bps(row["drift_bps"]),
            "assumed": _bps(row["assumed_bps"]),
        }
        for row in today.iter_rows(named=True)
    ]

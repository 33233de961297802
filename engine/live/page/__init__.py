"""The page of the day: what was forecast and what happened, live beside its backtest.

1. `daily.daily` gathers the figures from frames and says what to be alarmed about.
2. `html.render_page` draws them into one HTML file that loads nothing.
3. `write_daily_page` does both from the settings, for the loop.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl

from backtest.costs import Costs
from engine.config import Settings
from engine.data.market import Market
from engine.files import write_text
from engine.live.page.daily import Daily, daily
from engine.live.page.html import render_page
from engine.live.page.tracking import promised, read_history
from engine.signals.market import known_market

__all__ = ["FOLDER", "write_daily_page"]

FOLDER = "daily"
"""The folder of daily pages in the loop's run folder."""


def write_daily_page(
    settings: Settings,
    session: date,
    fills: pl.DataFrame,
    *,
    market: Market | None = None,
) -> tuple[Path, Daily]:
    """Write `<run.dir>/<run.name>/daily/SESSION.html`; returns its path and the day's figures.

    Parameters
    ----------
    settings
        `live.monitor.backtest` names the run folder to be held to, `costs` the assumed ones.
    session
        The session that has closed.
    fills
        `tracking.FILLS`: executions of all sessions so far.
    market
        Bars; cut off after `session`. None: read as `settings.data` says.

    Raises UsageError where `session` has no bar yet or a file of signals or of the backtest cannot
    be read, OSError where the page cannot be written.
    """
    known = known_market(settings.data, session, market=market).market
    backtest = settings.live.monitor.backtest
    found = daily(
        read_history(settings.run.dir, session),
        known,
        fills,
        metrics=None if backtest is None else promised(backtest),
        costs=Costs(**settings.costs.model_dump()),
        min_cross_section=settings.evaluation.min_cross_section,
        min_dates=settings.live.monitor.min_dates,
        min_fills=settings.live.monitor.min_fills,
        against="open" if settings.live.schedule.decide == "after_close" else "decision",
    )
    path = settings.run.dir / settings.run.name / FOLDER / f"{session}.html"
    write_text(path, render_page(found))
    return path, found

"""Folds: the calendar months of asof dates, and what may be learned before each.

A fold's history expands: everything before it, less what was not known yet. A label of t is known
after the close of t+h (it is mature), so a row may train a fold only if its label matured before
the fold's first date, and to be safe an embargo before that (López de Prado, 2018, chapter 7).
Everything that is fitted takes its rows from `training_rows`.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from engine.calendar import TradingCalendar

__all__ = ["embargo_start", "fold_first_session", "fold_of", "training_rows"]


def fold_of(asof: str | pl.Expr = "asof") -> pl.Expr:
    """The fold "YYYY-MM" of a date column or expression."""
    day = pl.col(asof) if isinstance(asof, str) else asof
    return day.dt.strftime("%Y-%m")


def fold_first_session(fold: str, calendar: TradingCalendar) -> date:
    """The first session of the fold's month, whichever of its dates are scored.

    Daily, weekly and monthly runs thus learn from the same rows. Raises ValueError where `fold`
    is no "YYYY-MM" or the calendar knows no session in it.
    """
    first = date.fromisoformat(f"{fold}-01")
    sessions = calendar.sessions(first, first.replace(day=28))
    if not sessions:
        raise ValueError(f"fold {fold}: {calendar.name} knows no session in it")
    return sessions[0]


def embargo_start(fold: str, calendar: TradingCalendar, *, embargo_sessions: int) -> date:
    """The session `embargo_sessions` before the fold's first: labels must mature before it."""
    if embargo_sessions < 0:
        raise ValueError(f"embargo_sessions is at least 0, not {embargo_sessions}")
    return calendar.offset(fold_first_session(fold, calendar), -embargo_sessions)


def training_rows(
    rows: pl.DataFrame, fold: str, calendar: TradingCalendar, *, embargo_sessions: int
) -> pl.DataFrame:
    """The rows that anything fitted for `fold` may learn from: expanding, purged, embargoed.

    Parameters
    ----------
    rows
        matures, mature, label and any other columns, as `compute_labels` gives them.
    fold
        "YYYY-MM".
    embargo_sessions
        Sessions between the last maturity and the fold's first session that belong to neither.

    Returns
    -------
    Rows with a label that matured before `embargo_start`, in the order of `rows`.
    """
    until = embargo_start(fold, calendar, embargo_sessions=embargo_sessions)
    known = pl.col("mature") & pl.col("label").is_not_null()
    return rows.filter(known & (pl.col("matures") < until))

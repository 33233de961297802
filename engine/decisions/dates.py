"""The dates at which a run decides."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from engine.calendar import Rebalance, TradingCalendar
from engine.config import Settings
from engine.config.settings import EvaluationSettings
from engine.data.market import Market
from engine.errors import UsageError

__all__ = [
    "Span",
    "decision_dates",
    "every_decision",
    "latest_dates",
    "next_rebalance",
    "rebalance_dates",
]


@dataclass(frozen=True)
class Span:
    """First and last date of something, both inclusive; None: as far as the data reach."""

    start: date | None
    end: date | None


def every_decision(market: Market, settings: Settings) -> list[date]:
    """The decision dates of a configuration: `evaluation` and `scoring.rebalance`.

    Raises UsageError where there are none, or the calendar ends before the longest horizon.
    """
    scoring, longest = settings.scoring, max(settings.scoring.horizons)
    dates = decision_dates(
        market, settings.evaluation, rebalance=scoring.rebalance, lookback=scoring.lookback
    )
    try:
        market.calendar.offset(dates[-1], longest)
    except UsageError as error:
        raise UsageError(f"scoring.horizons: {error}") from None
    return latest_dates(
        dates,
        settings.evaluation.max_dates,
        market.calendar,
        last=market.last_session,
        horizon=longest,
    )


def decision_dates(
    market: Market,
    evaluation: Span | EvaluationSettings,
    *,
    rebalance: Rebalance,
    lookback: int,
) -> list[date]:
    """Rebalance sessions within evaluation.start and end, both inclusive, and within the data.

    The calendar decides which session is the last of its week or month, not the data. Without a
    start, dates begin where the first ticker has a full lookback; with one they begin there, and
    windows that are too short are skipped and counted.

    Raises UsageError when evaluation.start and end leave no such date, naming the data's span.
    """
    bars, last = market.bars, market.last_session
    first = bars["date"].min()
    assert isinstance(first, date)
    span = f"the data run from {first} to {last}"
    if evaluation.start and evaluation.start > last:
        raise UsageError(f"evaluation.start {evaluation.start} is after the last bar: {span}")
    if evaluation.end and evaluation.end < first:
        raise UsageError(f"evaluation.end {evaluation.end} is before the first bar: {span}")
    start = max(evaluation.start or _first_full_window(bars, lookback) or first, first)
    end = min(evaluation.end or last, last)
    dates = market.calendar.rebalances(start, end, rebalance)
    if not dates:
        raise UsageError(f"no {rebalance} rebalance session from {start} to {end}: {span}")
    return dates


def _first_full_window(bars: pl.DataFrame, lookback: int) -> date | None:
    nth = (
        bars.sort("ticker", "date")
        .group_by("ticker")
        .agg(pl.col("date").get(lookback - 1, null_on_oob=True))
    )
    found = nth["date"].min()
    return found if isinstance(found, date) else None


def latest_dates(
    dates: list[date], at_most: int | None, calendar: TradingCalendar, *, last: date, horizon: int
) -> list[date]:
    """The `at_most` latest dates whose labels are mature at the `last` bar; None: all dates.

    Where no label is mature yet, the latest dates of all. `horizon` is the longest, in sessions.
    """
    if at_most is None:
        return dates
    mature = [day for day in dates if calendar.offset(day, horizon) <= last]
    return (mature or dates)[-at_most:]


def rebalance_dates(
    asofs: pl.Series, calendar: TradingCalendar, rebalance: Rebalance
) -> list[date]:
    """The scored dates at which the portfolio may change, in order.

    Those that are rebalance sessions by the calendar. Scores from elsewhere may keep a schedule of
    their own, with no such session among their dates: then every scored date is one.
    """
    dates: list[date] = asofs.unique().sort().to_list()
    if not dates:
        return []
    scheduled = set(calendar.rebalances(dates[0], dates[-1], rebalance))
    return [day for day in dates if day in scheduled] or dates


def next_rebalance(asof: date, calendar: TradingCalendar, rebalance: Rebalance) -> date:
    """The calendar's first rebalance session after `asof`: until then its portfolio is held."""
    day = asof + timedelta(days=1)
    return calendar.rebalances(day, day + timedelta(days=62), rebalance)[0]

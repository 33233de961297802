"""Rules about currencies, units and time zones that do not belong together."""

from __future__ import annotations

from datetime import date
from math import log

import polars as pl

from engine.calendar import TradingCalendar
from engine.data.check.findings import found, nothing
from engine.data.check.limits import CalendarLimits, CurrencyLimits, ZoneLimits

__all__ = ["calendar_mismatch", "labels", "mixed_currency", "mixed_zone", "unit_jumps"]


def labels(stated: pl.DataFrame) -> pl.DataFrame:
    """Findings of what the file itself states: more than one currency or zone.

    `stated` has kind ("currency" or "zone"), ticker and value, one row for each combination.
    """
    if stated.is_empty():
        return nothing()
    each = (
        stated.group_by("kind", "ticker")
        .agg(pl.col("value").unique().sort())
        .filter(pl.col("value").list.len() > 1)
        .sort("kind", "ticker")
    )
    text = pl.format("{}: {} in one series", "kind", pl.col("value").list.join(", "))
    whole = (
        stated.group_by("kind")
        .agg(pl.col("value").unique().sort())
        .filter(pl.col("value").list.len() > 1)
        .sort("kind")
    )
    across = pl.format(
        "{}: {} in one input; compare returns, never levels or values traded",
        "kind",
        pl.col("value").list.join(", "),
    )
    frames = []
    for kind, rule in (("currency", "mixed-currency"), ("zone", "mixed-zone")):
        inside = found(each.filter(pl.col("kind") == kind), rule, text)
        frames.append(inside)
        if inside.is_empty():
            frames.append(found(whole.filter(pl.col("kind") == kind), rule, across))
    return pl.concat(frames)


def unit_jumps(around: pl.DataFrame, limits: CurrencyLimits) -> pl.DataFrame:
    """ticker, date, previous, open of prices that turn to hundredths of a unit, or back.

    Unlike a split the number of shares traded stays, so value traded jumps by the factor too.
    """
    size = log(limits.factor)
    step = (pl.col("jump").abs() - size).abs() <= limits.tolerance
    shares = (pl.col("value_ratio").log().abs() >= size / 2).fill_null(True)
    return around.filter(step & shares).select("ticker", "date", "previous", "open")


def mixed_currency(jumps: pl.DataFrame) -> pl.DataFrame:
    """A finding for each of `unit_jumps`."""
    text = pl.format(
        "from close {} to open {} with the usual number of shares: another currency or unit?",
        pl.col("previous").round_sig_figs(6),
        pl.col("open").round_sig_figs(6),
    )
    return found(jumps, "mixed-currency", text)


def mixed_zone(
    rows: pl.DataFrame,
    quarantined: pl.DataFrame,
    daily: pl.DataFrame,
    calendar: TradingCalendar,
    limits: ZoneLimits,
) -> pl.DataFrame:
    """Tickers whose dates or times are of another zone than the calendar's.

    Intraday: most bars of the ticker start while the exchange is closed. Daily: bars on
    Sundays or Saturdays while Fridays or Mondays lack, as midnight in one zone written in another.
    """
    if "ts" in rows.columns:
        return _closed(rows, quarantined, calendar, limits)
    odd = quarantined.filter(pl.col("rule") == "not a session").drop_nulls("ticker")
    each = (
        odd.group_by("ticker")
        .agg(pl.col("date").min(), until=pl.col("date").max(), n=pl.len())
        .filter(pl.col("n") >= limits.shifted)
        .sort("ticker")
    )
    lacking = [
        len(calendar.sessions(first, last)) - _bars_between(daily, ticker, first, last)
        for ticker, first, last, _ in each.iter_rows()
    ]
    each = each.with_columns(lacking=pl.Series(lacking, dtype=pl.Int64))
    text = pl.format(
        "{} bars are on no session and {} sessions have none: dates of another zone?",
        "n",
        "lacking",
    )
    return found(each.filter(2 * pl.col("lacking") >= pl.col("n")), "mixed-zone", text)


def _bars_between(daily: pl.DataFrame, ticker: str, first: date, last: date) -> int:
    inside = (pl.col("ticker") == ticker) & pl.col("date").is_between(first, last)
    return daily.filter(inside).height


def _closed(
    rows: pl.DataFrame, quarantined: pl.DataFrame, calendar: TradingCalendar, limits: ZoneLimits
) -> pl.DataFrame:
    outside = quarantined.filter(pl.col("rule") == "outside trading hours")
    each = (
        outside.group_by("ticker")
        .agg(pl.col("date").min(), out=pl.len())
        .join(rows.group_by("ticker").agg(n=pl.len()), on="ticker")
        .filter(pl.col("out") > limits.outside * pl.col("n"))
        .sort("ticker")
    )
    closed = pl.lit(calendar.name)
    text = pl.format("{} of {} bars start while {} is closed: another zone?", "out", "n", closed)
    return found(each, "mixed-zone", text)


def calendar_mismatch(
    extra: int, rows: pl.DataFrame, calendar: TradingCalendar, limits: CalendarLimits
) -> pl.DataFrame:
    """One finding where so many bars are on no session that the calendar must be wrong."""
    if not rows.height or extra <= limits.extra_share * rows.height:
        return nothing()
    weekend = int((rows["date"].dt.weekday() > 5).sum())
    hint = "; weekends trade: --calendar 24/7?" if weekend > 0.1 * rows.height else "."
    text = (
        f"{extra:,} of {rows.height:,} bars are on no session of {calendar.name}{hint} "
        "Gaps and jumps were not judged"
    )
    return found(pl.DataFrame({"x": [0]}), "calendar-mismatch", pl.lit(text))

"""Which session an intraday bar belongs to, and whether the exchange was open."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from engine.calendar import TradingCalendar
from engine.data.rules import QUARANTINE, partition

__all__ = ["OUTSIDE_HOURS", "assign_sessions", "judge"]

OUTSIDE_HOURS = "outside trading hours"


def assign_sessions(rows: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    """`rows` with `date` as the session that is open at `ts`, and a boolean column `in_hours`.

    A session runs from its open up to but not including its close, in UTC, so that half days,
    sessions that begin the evening before and changes of the clock are what the exchange says.
    A bar outside of every session keeps the day of its own clock and is not `in_hours`.
    """
    known = rows["ts"].drop_nulls()
    if known.is_empty():
        return rows.with_columns(in_hours=pl.lit(None, dtype=pl.Boolean))
    day = timedelta(days=1)
    first, last = known.min().date(), known.max().date()  # type: ignore[union-attr]
    schedule = calendar.schedule(first - day, last + day)
    found = (
        pl.DataFrame({"ts": known.unique().sort()})
        .join_asof(schedule.rename({"date": "_session"}), left_on="ts", right_on="open")
        .select("ts", "_session", in_hours=pl.col("ts") < pl.col("close"))
        .with_columns(pl.col("in_hours").fill_null(False))
    )
    session = pl.when("in_hours").then("_session").otherwise("date")
    joined = rows.join(found, on="ts", how="left", maintain_order="left")
    return joined.with_columns(date=session).drop("_session")


def judge(rows: pl.DataFrame, calendar: TradingCalendar) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Kept and quarantined rows, of daily or intraday bars, by `rules.partition`.

    Intraday rows get their session first; those of a session's date but outside its hours
    (before the open, after the close) are quarantined under `OUTSIDE_HOURS`.
    """
    if "ts" not in rows.columns:
        return partition(rows, calendar)
    placed = assign_sessions(rows, calendar)
    days = placed["date"].drop_nulls()
    sessions = calendar.sessions(days.min(), days.max()) if days.len() else []  # type: ignore[arg-type]
    outside = ~pl.col("in_hours") & pl.col("date").is_in(
        pl.Series(sessions, dtype=pl.Date).implode()
    )
    lost = placed.filter(outside.fill_null(False)).select(
        "ticker",
        "date",
        rule=pl.lit(OUTSIDE_HOURS),
        message=pl.format("a bar at {} UTC", pl.col("ts").dt.strftime("%Y-%m-%d %H:%M:%S")),
        source="source",
    )
    inside = placed.filter(~outside.fill_null(False)).drop("in_hours")
    kept, quarantined = partition(inside, calendar)
    return kept, pl.concat([lost.cast(QUARANTINE), quarantined])

"""Sessions: which one a bar belongs to, which one is open now, and the bars it has not finished."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl

from engine.calendar import TradingCalendar
from engine.data.source import SourceData
from engine.errors import UsageError

__all__ = ["assign_sessions", "drop_partial", "finished", "open_session"]


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


def open_session(calendar: TradingCalendar, now: datetime) -> date | None:
    """The session that has opened and not yet closed at `now` (with a time zone)."""
    if now.tzinfo is None:
        raise UsageError("add_latest: the present time needs a time zone")
    moment = now.astimezone(UTC)
    around = calendar.schedule(moment.date() - timedelta(days=2), moment.date() + timedelta(days=2))
    found = around.filter((pl.col("open") <= moment) & (pl.col("close") > moment))
    return found["date"][0] if found.height else None


def drop_partial(
    bars: pl.DataFrame, calendar: TradingCalendar, now: datetime
) -> tuple[pl.DataFrame, int]:
    """Bars without the partial ones, and how many were: what a backtest may see.

    Partial are rows marked so, and those of the open session where it is the last of the bars.
    """
    marked = (
        bars["partial"] if "partial" in bars.columns else pl.repeat(False, bars.height, eager=True)
    )
    session = open_session(calendar, now)
    if session is not None and bars.height and bars["date"].max() == session:
        marked = marked | (bars["date"] == session)
    kept = bars.filter(~marked.fill_null(False)).drop("partial", strict=False)
    return kept, bars.height - kept.height


def finished(
    loaded: SourceData, calendar: TradingCalendar, now: datetime
) -> tuple[SourceData, int]:
    """What a source delivered without the partial daily bars, and how many bars they were.

    Intraday bars stay: each is complete when the next begins.
    """
    if "ts" in loaded.bars.columns:
        return loaded, 0
    bars, partial = drop_partial(loaded.bars, calendar, now)
    series = {name: drop_partial(rows, calendar, now)[0] for name, rows in loaded.series.items()}
    return replace(loaded, bars=bars, series=series), partial

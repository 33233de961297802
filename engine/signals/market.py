"""The bars that a decision at the close of a session may know."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import polars as pl

from engine.calendar import TradingCalendar
from engine.config.settings import DataSettings
from engine.data.market import Market, load_market
from engine.data.sessions import open_session
from engine.errors import UsageError
from engine.signals.latest import add_latest, wants_latest

__all__ = ["Known", "known_market"]


@dataclass(frozen=True)
class Known:
    """A market whose last session is the decision's.

    Attributes
    ----------
    market
        Nothing in it is of a later session.
    refused
        ticker, reason of the names whose quote was not used; empty without quotes.
    drops
        Quotes not used, by reason.
    """

    market: Market
    refused: dict[str, str] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict)


def known_market(
    data: DataSettings,
    asof: date,
    *,
    market: Market | None = None,
    quotes: pl.DataFrame | None = None,
    now: datetime | None = None,
) -> Known:
    """The configured market up to and with `asof`; given a `market`, that one cut off.

    With `quotes` (ticker, ts, bid, ask) `asof` is the session open at `now`, and its bars are made
    of them. What the source has of that session is used only while it is really open: in a replay
    of the past it would be the whole day's bar.

    Raises UsageError where there is no bar at `asof`, or `quotes` come outside that session.
    """
    now = now or datetime.now(UTC)
    if quotes is None:
        found = _loaded(data, asof, now) if market is None else market.until(asof)
        _require_bar(found, asof, now)
        return Known(found)
    if not wants_latest(data.add_latest, live=True):
        raise UsageError("data.add_latest false: today's bar is not to be made of quotes")
    calendar = TradingCalendar(data.calendar)
    if open_session(calendar, now) != asof:
        raise UsageError(f"--as-of {asof}: quotes complete the bars of an open session only")
    if market is None:
        real = open_session(calendar, datetime.now(UTC)) == asof
        until = asof if real else calendar.offset(asof, -1)
        market = load_market(_until(data, until), now=now, keep_partial=True)
    else:
        market = market.until(calendar.offset(asof, -1))
    return _with_quotes(market, data, quotes, asof, now)


def _loaded(data: DataSettings, asof: date, now: datetime) -> Market:
    try:
        return load_market(_until(data, asof), now=now)
    except UsageError as error:
        ours = str(error).startswith("data.end") and data.end != asof
        raise UsageError(f"--as-of {asof}: {error}" if ours else str(error)) from None


def _until(data: DataSettings, asof: date) -> DataSettings:
    """The same settings without anything after `asof`."""
    if data.end is not None and data.end < asof:
        raise UsageError(f"--as-of {asof} is after data.end {data.end}")
    if data.start is not None and data.start > asof:
        raise UsageError(f"--as-of {asof} is before data.start {data.start}")
    return data.model_copy(update={"end": asof})


def _require_bar(market: Market, asof: date, now: datetime) -> None:
    if market.intraday:
        raise UsageError("engine.signals takes daily bars, these are intraday (data.bar 1d)")
    if market.bars.is_empty():
        raise UsageError(f"--as-of {asof}: the data have no bar at or before it")
    if market.last_session < asof:
        why = "its session is not over" if open_session(market.calendar, now) == asof else None
        raise UsageError(
            f"--as-of {asof}: the last bar of the data is of {market.last_session}"
            + (f" ({why})" if why else "")
        )


def _with_quotes(
    market: Market, data: DataSettings, quotes: pl.DataFrame, asof: date, now: datetime
) -> Known:
    if market.intraday:
        raise UsageError("engine.signals takes daily bars, these are intraday (data.bar 1d)")
    latest = add_latest(market.bars, quotes, market.calendar, now=now, **data.latest.model_dump())
    used = {*latest.added, *latest.completed}
    today = pl.col("date") == asof
    # A row of today that no quote confirms may be hours old: the name is left out instead.
    kept = latest.bars.filter(~today | pl.col("ticker").is_in(used)).drop("partial")
    if not used:
        raise UsageError(f"--as-of {asof}: no quote can be used ({_counted(latest.drops)})")
    refused = {
        ticker: f"quote refused: {reason}"
        for ticker, reason, _ in latest.refused.iter_rows()
        if ticker not in used
    }
    return Known(
        market.with_bars(kept), refused, {f"quote: {why}": n for why, n in latest.drops.items()}
    )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} × {reason}" for reason, n in counts.items()) or "there is none"

"""Guards of the market: hours, halted names, bars and quotes that are late, lacking or odd."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime

import polars as pl

from engine.calendar import TradingCalendar
from engine.live.brokers.broker import Asset
from engine.live.guards.event import GuardEvent, listed, tripped

__all__ = [
    "halted_names",
    "market_closed",
    "missing_quotes",
    "missing_share",
    "quote_moves",
    "stale_data",
    "stale_quotes",
    "wide_spreads",
]

_MID = (pl.col("bid") + pl.col("ask")) / 2


def market_closed(now: datetime, opens: datetime, closes: datetime) -> list[GuardEvent]:
    """`now` is not in the session."""
    if opens <= now < closes:
        return []
    return tripped(
        "market_closed",
        f"it is {now:%Y-%m-%d %H:%M:%S} UTC; the session is from {opens:%Y-%m-%d %H:%M} "
        f"to {closes:%Y-%m-%d %H:%M} UTC",
    )


def halted_names(tickers: Collection[str], assets: Mapping[str, Asset]) -> list[GuardEvent]:
    """A name that is to be traded is halted."""
    halted = sorted(name for name in tickers if name in assets and assets[name].halted)
    if not halted:
        return []
    return tripped("halted", f"trading is halted in {listed(halted)}", halted)


def stale_data(
    last_bar: date, asof: date, calendar: TradingCalendar, *, max_age_sessions: int
) -> list[GuardEvent]:
    """The newest bar is of an older session than the one to decide on."""
    late = len(calendar.sessions(last_bar, asof)) - 1 if last_bar < asof else 0
    if late <= max_age_sessions:
        return []
    return tripped(
        "stale_data",
        f"the last bar is of {last_bar}, {late} sessions before {asof}; "
        f"live.guards.max_data_age_sessions allows {max_age_sessions}",
    )


def missing_share(
    expected: Collection[str], present: Collection[str], *, limit: float
) -> list[GuardEvent]:
    """Too many names of the universe have no bar on the session to decide on."""
    lacking = sorted(set(expected) - set(present))
    share = len(lacking) / len(expected) if expected else 1.0
    if share <= limit and expected:
        return []
    return tripped(
        "missing_data",
        f"{len(lacking)} of {len(expected)} names have no bar ({listed(lacking)}): "
        f"more than the share of live.guards.max_missing_share {limit:g}",
        lacking,
    )


def missing_quotes(
    tickers: Collection[str], quotes: pl.DataFrame, *, limit: float
) -> list[GuardEvent]:
    """Too many of the names to trade have no quote with a bid and an ask."""
    known = quotes.filter((pl.col("bid") > 0) & (pl.col("ask") > 0))["ticker"].to_list()
    lacking = sorted(set(tickers) - set(known))
    if not tickers or len(lacking) / len(tickers) <= limit:
        return []
    return tripped(
        "missing_quotes",
        f"{len(lacking)} of {len(tickers)} names to trade have no quote ({listed(lacking)}): "
        f"more than the share of live.guards.max_missing_share {limit:g}",
        lacking,
    )


def stale_quotes(quotes: pl.DataFrame, now: datetime, *, max_age_s: float) -> list[GuardEvent]:
    """A quote (`QUOTES`) is older than `max_age_s` seconds at `now`."""
    age = (pl.lit(now) - pl.col("ts")).dt.total_microseconds() / 1e6
    old = quotes.with_columns(age=age).filter(pl.col("age") > max_age_s).sort("ticker")
    shown = [f"{name} {seconds:,.0f} s" for name, seconds in old["ticker", "age"].iter_rows()]
    return _said(
        "stale_quotes", f"quotes older than live.guards.max_quote_age_s {max_age_s:g}", old, shown
    )


def wide_spreads(quotes: pl.DataFrame, *, max_spread: float) -> list[GuardEvent]:
    """(ask − bid) / mid is above `max_spread`, or the quote is crossed."""
    spread = (pl.col("ask") - pl.col("bid")) / _MID
    bad = quotes.with_columns(spread=spread).filter(
        (pl.col("spread") > max_spread) | (pl.col("spread") < 0)
    )
    bad = bad.sort("ticker")
    shown = [f"{name} {share:.2%}" for name, share in bad["ticker", "spread"].iter_rows()]
    return _said(
        "wide_spread", f"spreads beyond live.guards.max_spread {max_spread:.2%}", bad, shown
    )


def quote_moves(
    quotes: pl.DataFrame, closes: Mapping[str, float], *, max_move: float
) -> list[GuardEvent]:
    """|mid / last close − 1| is above `max_move`: a split or an error is likelier than news."""
    last = pl.DataFrame(
        {"ticker": list(closes), "close": list(closes.values())},
        schema={"ticker": pl.String, "close": pl.Float64},
    )
    move = _MID / pl.col("close") - 1
    far = quotes.join(last, on="ticker").with_columns(move=move)
    far = far.filter(pl.col("move").abs() > max_move).sort("ticker")
    shown = [f"{name} {share:+.1%}" for name, share in far["ticker", "move"].iter_rows()]
    return _said(
        "quote_move",
        f"quotes farther from the last close than live.guards.max_quote_move {max_move:.1%}",
        far,
        shown,
    )


def _said(guard: str, what: str, rows: pl.DataFrame, shown: list[str]) -> list[GuardEvent]:
    if rows.is_empty():
        return []
    return tripped(guard, f"{what}: {listed(shown)}", rows["ticker"].to_list())

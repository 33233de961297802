"""ADD_LATEST: today's bar while the session is open, from a quote.

A backtest knows complete bars only. A live signal may be asked for before the close: then the last
row may be today's partial bar, marked as such, and a fresh quote replaces or completes it. No row
before it is touched.

1. `_judge` refuses quotes that are stale, crossed, too wide, too far from the last close, of
   another session or of an unknown ticker; each is counted by its reason.
2. `add_latest` puts the mid of what is left into today's row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl

from engine.calendar import TradingCalendar
from engine.data.sessions import open_session
from engine.errors import UsageError

__all__ = ["Latest", "add_latest", "wants_latest"]

REFUSED = pl.Schema({"ticker": pl.String, "reason": pl.String, "message": pl.String})

_QUOTE = pl.Schema(
    [
        ("ticker", pl.String),
        ("ts", pl.Datetime("us", "UTC")),
        ("bid", pl.Float64),
        ("ask", pl.Float64),
    ]
)


@dataclass(frozen=True)
class Latest:
    """Bars with today's row where a quote gave one.

    Attributes
    ----------
    bars
        The columns given, and `partial`: true in rows of the session that is still open.
    session
        The open session; None while the exchange is closed, and then nothing was added.
    added, completed
        Tickers whose row of today is new, and those whose partial bar took the quote.
    refused
        ticker, reason, message: quotes that were not used.
    drops
        Refused quotes counted by reason.
    """

    bars: pl.DataFrame
    session: date | None
    added: tuple[str, ...]
    completed: tuple[str, ...]
    refused: pl.DataFrame
    drops: dict[str, int]


def wants_latest(setting: bool | None, *, live: bool) -> bool:
    """Whether `data.add_latest` is on: null and true mean for live signals, never for backtests."""
    return live and setting is not False


def add_latest(
    bars: pl.DataFrame,
    quotes: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    now: datetime,
    max_age_s: float,
    max_spread: float,
    max_move: float,
) -> Latest:
    """Daily bars with today's row from quotes.

    Parameters
    ----------
    bars
        The columns of `contract.BARS`, sorted and unique in (ticker, date); no row after today.
    quotes
        ticker, ts (Datetime, UTC), bid, ask; other columns are ignored. Of several quotes of a
        ticker the newest that is not in the future counts.
    now
        The present, with a time zone.
    max_age_s
        Seconds a quote may be old.
    max_spread
        (ask − bid) / mid at most.
    max_move
        |mid / last complete close − 1| at most: beyond it, a split or an error is likelier than
        news.

    Returns
    -------
    Latest
        A partial bar takes the mid as close, and as high or low where it lies outside; a new row
        has the mid as its four prices, no volume, and the last bar's adj_factor.

    Raises
    ------
    UsageError
        The bars are intraday or run beyond today, the quotes lack a column, or `now` has no zone.
    """
    if "ts" in bars.columns:
        raise UsageError("add_latest: takes daily bars, these are intraday (column `ts`)")
    session = open_session(calendar, now)
    today = session or now.astimezone(UTC).date()
    beyond = bars.filter(pl.col("date") > today)
    if beyond.height:
        ticker, day = beyond.select("ticker", "date").row(0)
        raise UsageError(f"add_latest: {ticker} has a bar of {day}, after the present, {today}")
    given = _quotes(quotes)
    if session is None:
        refused = _refusal(given, "exchange closed", pl.lit(f"{calendar.name} is closed"))
        return _result(bars.with_columns(partial=pl.lit(False)), None, (), (), refused)
    opened = calendar.schedule(session, session)["open"][0]
    complete = bars.filter(pl.col("date") < session)
    closes = complete.group_by("ticker", maintain_order=True).agg(
        pl.col("close", "adj_factor").last()
    )
    used, refused = _judge(
        given, closes, opened, now.astimezone(UTC), max_age_s, max_spread, max_move
    )
    current = bars.filter(pl.col("date") == session)
    rows = _today(current, used, session, bars.columns)
    whole = pl.concat(
        [complete.with_columns(partial=pl.lit(False)), rows.with_columns(partial=pl.lit(True))]
    ).sort("ticker", "date", maintain_order=True)
    had = set(current["ticker"])
    names = used["ticker"].to_list()
    added = tuple(name for name in names if name not in had)
    completed = tuple(name for name in names if name in had)
    return _result(whole, session, added, completed, refused)


def _quotes(quotes: pl.DataFrame) -> pl.DataFrame:
    lacking = [name for name in _QUOTE if name not in quotes.columns]
    if lacking:
        raise UsageError(f"add_latest: the quotes lack the column {', '.join(lacking)}")
    zone = quotes.schema["ts"]
    if not isinstance(zone, pl.Datetime) or zone.time_zone is None:
        raise UsageError("add_latest: the quotes' ts must be a time with a zone")
    times = pl.col("ts").dt.convert_time_zone("UTC")
    return quotes.with_columns(times).select(_QUOTE.names()).cast(_QUOTE)


def _judge(
    quotes: pl.DataFrame,
    closes: pl.DataFrame,
    opened: datetime,
    now: datetime,
    max_age_s: float,
    max_spread: float,
    max_move: float,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Quotes to use (ticker, mid, adj_factor), one a ticker, and the refused."""
    bid, ask, mid = pl.col("bid"), pl.col("ask"), pl.col("mid")
    age = (pl.lit(now) - pl.col("ts")).dt.total_milliseconds() / 1000
    real = bid.is_finite() & ask.is_finite() & (bid > 0) & (ask > 0)
    move = mid / pl.col("close") - 1
    checks = [
        ("unknown ticker", pl.col("close").is_null(), pl.lit("has no complete bar")),
        ("quote from the future", age < 0, pl.format("{} s after the present", -age)),
        ("older quote", pl.col("at") != pl.col("newest"), pl.lit("there is a newer one")),
        ("no bid or ask", ~real.fill_null(False), pl.format("bid {}, ask {}", bid, ask)),
        ("crossed quote", bid > ask, pl.format("bid {} above ask {}", bid, ask)),
        ("quote of another session", pl.col("ts") < opened, pl.format("of {}", pl.col("ts"))),
        (
            "stale quote",
            age > max_age_s,
            pl.format("{} s old, at most {} are allowed", age.round(1), pl.lit(max_age_s)),
        ),
        (
            "spread too wide",
            (ask - bid) / mid > max_spread,
            pl.format("bid {}, ask {}: more than {} of the mid", bid, ask, pl.lit(max_spread)),
        ),
        (
            "too far from the last close",
            move.abs() > max_move,
            pl.format("mid {} after a close of {}: a split?", mid, pl.col("close")),
        ),
    ]
    judged = (
        quotes.join(closes, on="ticker", how="left", maintain_order="left")
        .with_row_index("at")
        .with_columns(mid=(bid + ask) / 2, age=age)
        .with_columns(
            newest=pl.col("at")
            .filter(pl.col("age") >= 0)
            .sort_by(pl.col("ts").filter(pl.col("age") >= 0), maintain_order=True)
            .last()
            .over("ticker")
        )
    )
    reason: pl.Expr = pl.lit(None, dtype=pl.String)
    message: pl.Expr = pl.lit(None, dtype=pl.String)
    for name, broken, text in reversed(checks):
        reason = pl.when(broken.fill_null(True)).then(pl.lit(name)).otherwise(reason)
        message = pl.when(broken.fill_null(True)).then(text).otherwise(message)
    judged = judged.with_columns(reason=reason, message=message)
    used = judged.filter(pl.col("reason").is_null()).select("ticker", "mid", "adj_factor")
    refused = judged.filter(pl.col("reason").is_not_null()).select(REFUSED.names())
    return used.sort("ticker"), refused.cast(REFUSED)


def _today(
    current: pl.DataFrame, used: pl.DataFrame, session: date, columns: list[str]
) -> pl.DataFrame:
    """Today's rows: the partial bars, with the quote where there is one, and the new rows."""
    mid = pl.col("mid")
    joined = current.join(used.select("ticker", "mid"), on="ticker", how="left")
    quoted = mid.is_not_null()
    completed = joined.with_columns(
        close=pl.coalesce("mid", "close"),
        high=pl.when(quoted).then(pl.max_horizontal("high", "mid")).otherwise("high"),
        low=pl.when(quoted).then(pl.min_horizontal("low", "mid")).otherwise("low"),
    )
    fresh = used.join(current, on="ticker", how="anti").select(
        "ticker",
        "adj_factor",
        date=pl.lit(session),
        **{name: mid for name in ("open", "high", "low", "close")},
        volume=pl.lit(0.0),
        amount=pl.lit(0.0),
    )
    return pl.concat([completed.select(columns), fresh.select(columns)])


def _refusal(quotes: pl.DataFrame, reason: str, message: pl.Expr) -> pl.DataFrame:
    return quotes.select("ticker", reason=pl.lit(reason), message=message).cast(REFUSED)


def _result(
    bars: pl.DataFrame,
    session: date | None,
    added: tuple[str, ...],
    completed: tuple[str, ...],
    refused: pl.DataFrame,
) -> Latest:
    counts = refused["reason"].value_counts().sort("reason")
    return Latest(bars, session, added, completed, refused, dict(counts.iter_rows()))

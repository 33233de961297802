"""What recorded bars say of a ticker at a moment: its price, its volume, its splits.

Nothing that a bar tells only later is used, with one exception that a replay of daily bars cannot
do without: in the last minutes of a session its price is the close to come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

from backtest.costs import ADV_SESSIONS
from engine.calendar import TradingCalendar
from engine.config.settings import Settings
from engine.data.market import load_market
from engine.live.brokers.broker import QUOTES
from engine.live.hours import Hours

__all__ = ["Action", "BarBook", "Books", "DataQuotes", "Price", "fixed_book", "settings_books"]

_CLOSING_MIN = 30.0
# Below this a change of adj_factor is rounding.
_SAME = 1e-6
# How long bars that are late are not asked for again.
_PATIENCE_S = 600.0


@dataclass(frozen=True)
class Price:
    """A price and when it was that."""

    value: float
    ts: datetime


@dataclass(frozen=True)
class Action:
    """A split or dividend: `ratio` is adj_factor over that of the bar before.

    r new shares for an old one make r; a dividend D at the close P before it makes P / (P - D).
    """

    date: date
    ratio: float
    close_before: float


@dataclass(frozen=True)
class _Series:
    starts: np.ndarray  # int64, microseconds since 1970
    ends: np.ndarray
    opens: np.ndarray
    closes: np.ndarray
    days: np.ndarray  # datetime64[D], one a session, as the three below
    last_close: np.ndarray
    factor: np.ndarray
    amount: np.ndarray


class BarBook:
    """Prices as recorded of daily or intraday bars, asked by time.

    Parameters
    ----------
    bars
        As `Market.bars`: date, ticker, open, close, adj_factor, and amount where known; with `ts`
        the start of intraday bars. adj_factor and amount may be missing.
    calendar
        The exchange's; daily bars last from its open to its close.
    closing_min
        Minutes before the close from which the price of a daily bar is its close, and not its
        open.
    """

    def __init__(
        self, bars: pl.DataFrame, calendar: TradingCalendar, *, closing_min: float = _CLOSING_MIN
    ) -> None:
        self._hours = Hours(calendar)
        self._daily = "ts" not in bars.columns
        self._closing = int(closing_min * 60e6) if self._daily else 0
        timed = _timed(bars, calendar)
        self._series = {
            str(ticker): _series(rows)
            for (ticker,), rows in timed.partition_by("ticker", as_dict=True).items()
        }

    @property
    def tickers(self) -> list[str]:
        """Tickers with at least one bar."""
        return sorted(self._series)

    def price(self, ticker: str, now: datetime) -> Price | None:
        """The newest price known at `now`; None before the first bar.

        1. Within a bar: its open; in the last minutes of a daily one its close; of `now`.
        2. While the market is closed, after a bar of the last session: its close, taken for `now`.
        3. Otherwise the close of the last bar, of the end of that bar: the ticker has stopped.
        """
        series = self._series.get(ticker)
        at = _micros(now)
        bar = -1 if series is None else int(np.searchsorted(series.starts, at, "right")) - 1
        if series is None or bar < 0:
            return None
        end = int(series.ends[bar])
        if at < end:
            closing = at >= end - self._closing
            return Price(float((series.closes if closing else series.opens)[bar]), now)
        last = self._hours.begun(now)
        current = (
            last is not None and now >= last.close and series.starts[bar] >= _micros(last.open)
        )
        return Price(float(series.closes[bar]), now if current else _time(end))

    def average_daily_value(self, ticker: str, now: datetime) -> float:
        """Mean traded value of the 20 sessions that closed last; NaN where none is known."""
        series, closed = self._series.get(ticker), self._hours.finished(now)
        if series is None or closed < ADV_SESSIONS:
            return float("nan")
        first = np.datetime64(self._hours.nth(closed - ADV_SESSIONS).date)
        last = np.datetime64(self._hours.nth(closed - 1).date)
        window = series.amount[(series.days >= first) & (series.days <= last)]
        window = window[~np.isnan(window)]
        return float(window.mean()) if window.size else float("nan")

    def actions(self, ticker: str, after: date, until: date) -> list[Action]:
        """Splits and dividends with a first bar later than `after`, up to `until`."""
        series = self._series.get(ticker)
        if series is None:
            return []
        first = max(1, int(np.searchsorted(series.days, np.datetime64(after), "right")))
        last = int(np.searchsorted(series.days, np.datetime64(until), "right"))
        ratio = series.factor[first:last] / series.factor[first - 1 : last - 1]
        return [
            Action(series.days[at].item(), float(r), float(series.last_close[at - 1]))
            for at, r in zip(range(first, last), ratio, strict=True)
            if abs(r - 1) > _SAME
        ]


Books = Callable[[datetime], BarBook]


def fixed_book(book: BarBook) -> Books:
    """The same bars at every time, as in a replay."""
    return lambda now: book


class DataQuotes:
    """Quotes made of bars: the price of `BarBook`, with the same spread for every ticker.

    For replays and demonstrations. A ticker without a bar of the session has a quote of the time
    of its last bar, which a guard of stale quotes stops at.
    """

    replays = True

    def __init__(self, books: Books, *, half_spread_bps: float) -> None:
        self._books = books
        self._half = half_spread_bps / 1e4

    def quotes(self, tickers: Sequence[str], now: datetime) -> pl.DataFrame:
        """`QUOTES`, sorted by ticker."""
        book = self._books(now)
        known = [(ticker, book.price(ticker, now)) for ticker in sorted(set(tickers))]
        rows = [
            (ticker, price.ts, price.value * (1 - self._half), price.value * (1 + self._half))
            for ticker, price in known
            if price is not None
        ]
        return pl.DataFrame(rows, schema=QUOTES, orient="row")


def settings_books(settings: Settings, bars: Callable[[], pl.DataFrame] | None = None) -> Books:
    """The bars of a configuration, read when they are first needed, and anew when there may be
    more of them: after an open or a close, and every few minutes while the last session lacks."""
    calendar = TradingCalendar(settings.data.calendar)
    if bars is None:
        return _Booker(_Reader(settings, Hours(calendar)).bars, calendar).book
    given = bars
    return _Booker(lambda now: given(), calendar).book


class _Booker:
    """One book a frame."""

    def __init__(self, bars: Callable[[datetime], pl.DataFrame], calendar: TradingCalendar) -> None:
        self._bars, self._calendar = bars, calendar
        self._booked: tuple[pl.DataFrame, BarBook] | None = None

    def book(self, now: datetime) -> BarBook:
        frame = self._bars(now)
        if self._booked is None or self._booked[0] is not frame:
            self._booked = frame, BarBook(frame, self._calendar)
        return self._booked[1]


class _Reader:
    """Reads `data` when it may have grown."""

    def __init__(self, settings: Settings, hours: Hours) -> None:
        self._settings, self._hours = settings, hours
        self._frame: pl.DataFrame | None = None
        self._read_at: object = None

    def bars(self, now: datetime) -> pl.DataFrame:
        if self._frame is None or self._stage(self._frame, now) != self._read_at:
            self._frame = load_market(self._settings.data, now=now, keep_partial=True).bars
            self._read_at = self._stage(self._frame, now)
        return self._frame

    def _stage(self, frame: pl.DataFrame, now: datetime) -> object:
        """What changes when there may be bars that `frame` lacks."""
        session, last = self._hours.begun(now), frame["date"].max()
        if session is None or not isinstance(last, date) or last > session.date:
            return None  # a replay: what is to come is there already
        late = now.timestamp() // _PATIENCE_S if last < session.date else None
        return session.date, now >= session.close, late


def _timed(bars: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    """With start and end in microseconds; daily bars of days without a session are left out."""
    for name, value in (("adj_factor", 1.0), ("amount", None)):
        if name not in bars.columns:
            bars = bars.with_columns(pl.lit(value, dtype=pl.Float64).alias(name))
    if "ts" in bars.columns:
        step = bars.sort("ticker", "ts").select(pl.col("ts").diff().over("ticker").min()).item()
        end = pl.col("ts") + (step or timedelta(minutes=1))
        return bars.with_columns(start=_us("ts"), end=end.dt.epoch("us")).sort("ticker", "start")
    days = bars["date"].drop_nulls()
    if days.is_empty():
        return bars.with_columns(start=pl.lit(0), end=pl.lit(0)).clear()
    hours = calendar.schedule(days.min(), days.max())  # type: ignore[arg-type]
    timed = bars.join(hours.select("date", start=_us("open"), end=_us("close")), on="date")
    return timed.sort("ticker", "start")


def _us(name: str) -> pl.Expr:
    return pl.col(name).dt.epoch("us")


def _series(rows: pl.DataFrame) -> _Series:
    daily = rows.group_by("date", maintain_order=True).agg(
        pl.col("close").last(), pl.col("adj_factor").last(), pl.col("amount").sum()
    )
    known = rows.group_by("date", maintain_order=True).agg(pl.col("amount").count() > 0)["amount"]
    amount = daily["amount"].to_numpy().astype(np.float64)
    return _Series(
        starts=rows["start"].to_numpy(),
        ends=rows["end"].to_numpy(),
        opens=rows["open"].to_numpy(),
        closes=rows["close"].to_numpy(),
        days=daily["date"].to_numpy().astype("datetime64[D]"),
        last_close=daily["close"].to_numpy(),
        factor=daily["adj_factor"].to_numpy(),
        amount=np.where(known.to_numpy(), amount, np.nan),
    )


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _time(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)

"""Strategies that trade a forecast bar for one session: how it enters and where it leaves.

A forecast bar is a predicted close, high and low for the session after the decision. Each strategy
turns it and the session's real bar into one trade (``trade_bars``):

- ``simple``: in at the open on the side of the predicted close, out at the close.
- ``all_signals``: the same, only where predicted close, high and low agree on the side.
- ``entry_takeprofit``: in at the open, out at the predicted high (long) or low (short).
- ``highlow``: a long enters at the predicted low, leaves at the predicted high; a short mirrored.
- ``maxdiff``: highlow with levels moved by offsets that were best on earlier months.

Only open, high, low and close of the session are known. The rules, the same for every strategy:

1. A level is filled only if the bar trades *through* it: low below a buy limit, high above a sell
   limit. Touching it exactly is not enough; someone else was first in the queue.
2. A bar that opens beyond the limit fills at the open, which is better and comes first.
3. Entry and exit level both inside one bar: the worse order of events is assumed. The exit level
   was reached before the entry, so the position is closed at the close. Only an entry at the open
   is known to come first; then the exit level counts.
4. What is still open at the close is closed there. Nothing is held overnight.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = [
    "STRATEGIES",
    "Offsets",
    "net_returns",
    "trade_bars",
    "trade_maxdiff",
]

STRATEGIES = ("simple", "all_signals", "entry_takeprofit", "highlow")
Floats = NDArray[np.float64]
_SESSION = ("open", "high", "low", "close")
_FORECAST = ("last_close", "predicted_close", "predicted_high", "predicted_low")


@dataclass(frozen=True)
class Offsets:
    """How far, as a share of the last close, levels are moved towards (positive) the open price.

    ``entry`` moves the level of entry, ``target`` that of exit.
    """

    entry: float | pl.Expr = 0.0
    target: float | pl.Expr = 0.0


def trade_bars(
    forecasts: pl.DataFrame,
    *,
    strategy: str,
    round_trip_bps: float | pl.Expr,
    offsets: Offsets | None = None,
) -> pl.DataFrame:
    """One row a forecast: what the strategy made of its session.

    Parameters
    ----------
    forecasts
        asof, ticker, last_close, predicted_close, predicted_high, predicted_low (for the session
        after asof) and that session's open, high, low, close; prices of one row on one basis.
    strategy
        One of ``STRATEGIES``.
    round_trip_bps
        Cost of entering and leaving, basis points of the entry value; may be a column's.
    offsets
        For ``highlow``: moves the levels; may be columns.

    Returns
    -------
    pl.DataFrame
        asof, ticker, side (+1, −1, 0), entry, exit (null where nothing was filled), gross, net: the
        return on the value entered, 0 where nothing was filled.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"no entry strategy {strategy!r}; there are: {', '.join(STRATEGIES)}")
    side, entry, leave = _orders(strategy, offsets or Offsets())
    complete = pl.all_horizontal(pl.col(*_SESSION, *_FORECAST).is_finite().fill_null(False))
    framed = forecasts.with_columns(side=pl.when(complete).then(side).otherwise(0).cast(pl.Int8))
    side = pl.col("side")
    priced = framed.with_columns(entry=entry, exit=leave).with_columns(
        exit=pl.when(pl.col("entry").is_not_null()).then(pl.col("exit"))
    )
    gross = side * (pl.col("exit") / pl.col("entry") - 1)
    bps = round_trip_bps if isinstance(round_trip_bps, pl.Expr) else pl.lit(float(round_trip_bps))
    cost = pl.when(pl.col("entry").is_not_null()).then(bps / 1e4).otherwise(0.0)
    return priced.select(
        "asof",
        "ticker",
        "side",
        "entry",
        "exit",
        gross=gross.fill_null(0.0),
        net=gross.fill_null(0.0) - cost,
    )


def _orders(strategy: str, offsets: Offsets) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    last = pl.col("last_close")
    close, high, low = (pl.col(f"predicted_{name}") for name in ("close", "high", "low"))
    direction = (close - last).sign()
    side = pl.col("side")
    if strategy == "simple":
        return direction, *_enter_at_open(side)
    if strategy == "all_signals":
        agree = ((high - last).sign() == direction) & ((low - last).sign() == direction)
        return pl.when(agree).then(direction).otherwise(0), *_enter_at_open(side)
    target = pl.when(side > 0).then(high).otherwise(low)
    if strategy == "entry_takeprofit":
        return direction, *_enter_at_open(side, target)
    entry = pl.when(side > 0).then(low).otherwise(high)
    entry = entry + side * offsets.entry * last
    target = target - side * offsets.target * last
    return direction, *_enter_at_limit(side, entry, target)


def _enter_at_open(side: pl.Expr, take_profit: pl.Expr | None = None) -> tuple[pl.Expr, pl.Expr]:
    """(entry price, exit price) of a position opened at the open; null entry where side is 0.

    With ``take_profit`` the position leaves at that level when the bar trades through it. A level
    that the open has already passed leaves at the open.
    """
    opened, close = pl.col("open"), pl.col("close")
    entry = pl.when(side != 0).then(opened)
    if take_profit is None:
        return entry, close
    long_exit = (
        pl.when(opened >= take_profit)
        .then(opened)
        .when(pl.col("high") > take_profit)
        .then(take_profit)
        .otherwise(close)
    )
    short_exit = (
        pl.when(opened <= take_profit)
        .then(opened)
        .when(pl.col("low") < take_profit)
        .then(take_profit)
        .otherwise(close)
    )
    return entry, pl.when(side > 0).then(long_exit).otherwise(short_exit)


def _enter_at_limit(side: pl.Expr, entry: pl.Expr, target: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """(entry, exit price) of a position opened at the limit ``entry``; null entry if unfilled.

    Long: buys below, leaves at ``target`` above; short mirrored. Levels in the wrong order (a long
    whose target is not above its entry) are not traded.
    """
    opened, high, low = pl.col("open"), pl.col("high"), pl.col("low")
    long_at_open, short_at_open = opened <= entry, opened >= entry
    long_entry = (
        pl.when(target <= entry)
        .then(None)
        .when(long_at_open)
        .then(opened)
        .when(low < entry)
        .then(entry)
    )
    short_entry = (
        pl.when(target >= entry)
        .then(None)
        .when(short_at_open)
        .then(opened)
        .when(high > entry)
        .then(entry)
    )
    long_exit = pl.when(long_at_open & (high > target)).then(target).otherwise(pl.col("close"))
    short_exit = pl.when(short_at_open & (low < target)).then(target).otherwise(pl.col("close"))
    filled = pl.when(side > 0).then(long_entry).when(side < 0).then(short_entry)
    return filled, pl.when(side > 0).then(long_exit).otherwise(short_exit)


def trade_maxdiff(
    forecasts: pl.DataFrame,
    *,
    grid: Sequence[float],
    round_trip_bps: float | pl.Expr,
    by_ticker: bool = False,
    min_rows: int = 20,
    sessions: Sequence[date] | None = None,
    embargo: int = 0,
) -> pl.DataFrame:
    """Trades of ``maxdiff``, out of sample and, apart, in sample.

    Folds are calendar months. A month is traded with the offsets of the highest mean net return
    over all trades settled before its first asof, less ``embargo`` of the ``sessions`` (None: the
    asofs themselves); without ``min_rows`` of them it is not traded. ``by_ticker`` fits each name
    by itself, which multiplies the number of parameters, and with them what can be overfitted.

    Returns
    -------
    pl.DataFrame
        The columns of ``trade_bars`` (side 0 and net null where the fold was not traded), in_sample
        (net with offsets fitted on the whole history, the month itself included), entry_offset,
        target_offset. The in-sample column is shown beside net only: it is what the strategy would
        have earned had the future been known.
    """
    rows = forecasts.sort("asof", "ticker")
    pairs = list(itertools.product(grid, repeat=2))
    net = np.column_stack([net_returns(rows, Offsets(*pair), round_trip_bps) for pair in pairs])
    days = np.array(sorted(set(rows["asof"]) if sessions is None else sessions), "datetime64[D]")
    place = np.searchsorted(days, rows["asof"].to_numpy().astype("datetime64[D]"))
    month = rows["asof"].dt.truncate("1mo").to_numpy()
    chosen = np.full(rows.height, -1)
    hindsight = np.zeros(rows.height, dtype=np.int64)
    for members in _groups(rows, by_ticker=by_ticker):
        hindsight[members] = net[members].sum(axis=0).argmax()
        chosen[members] = _walk(net[members], place[members], month[members], min_rows, embargo)
    offsets = np.where(chosen[:, None] >= 0, np.array(pairs, dtype=np.float64)[chosen], np.nan)
    trades = _trade_at(rows, offsets, round_trip_bps)
    return trades.with_columns(in_sample=pl.Series(net[np.arange(rows.height), hindsight])).select(
        pl.exclude("entry_offset", "target_offset"), "entry_offset", "target_offset"
    )


def _trade_at(rows: pl.DataFrame, offsets: Floats, round_trip_bps: float | pl.Expr) -> pl.DataFrame:
    """Trades of rows under (rows, 2) offsets of their own; side 0 and net null where they are NaN.

    The columns of ``trade_bars``, entry_offset, target_offset.
    """
    names = ["entry_offset", "target_offset"]
    own = pl.DataFrame(offsets, schema=names, orient="row").fill_nan(None)
    moved = Offsets(pl.col("entry_offset"), pl.col("target_offset"))
    trades = trade_bars(
        rows.hstack(own), strategy="highlow", round_trip_bps=round_trip_bps, offsets=moved
    )
    traded = pl.col("entry_offset").is_not_null()
    return trades.hstack(own).with_columns(
        side=pl.when(traded).then("side").otherwise(pl.lit(0, dtype=pl.Int8)),
        net=pl.when(traded).then("net"),
    )


def net_returns(
    forecasts: pl.DataFrame, offsets: Offsets, round_trip_bps: float | pl.Expr
) -> Floats:
    """Net return of every row under fixed offsets, in the order of the rows."""
    trades = trade_bars(
        forecasts, strategy="highlow", round_trip_bps=round_trip_bps, offsets=offsets
    )
    return trades["net"].to_numpy()


def _walk(
    net: Floats, place: NDArray[Any], month: NDArray[Any], min_rows: int, embargo: int
) -> NDArray[np.int64]:
    """The best grid point of each row's month, by rows settled before it; −1 for too few.

    ``place`` is the asof's number among the sessions; a trade is settled one session later.
    """
    total = np.vstack([np.zeros((1, net.shape[1])), np.cumsum(net, axis=0)])
    chosen = np.full(len(net), -1, dtype=np.int64)
    for start in np.unique(month):
        rows = month == start
        cutoff = place[rows][0] - embargo
        known = int(np.searchsorted(place + 1, cutoff, side="left"))
        if known >= min_rows:
            chosen[rows] = total[known].argmax()
    return chosen


def _groups(rows: pl.DataFrame, *, by_ticker: bool) -> list[NDArray[np.int64]]:
    if not by_ticker:
        return [np.arange(rows.height)]
    numbered = rows.select("ticker").with_row_index("row")
    members = numbered.group_by("ticker", maintain_order=True).agg("row")["row"]
    return [np.asarray(group, dtype=np.int64) for group in members]

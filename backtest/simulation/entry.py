"""Strategies that trade a forecast bar for one session: how it enters and where it leaves.

A forecast bar is a predicted close, high and low for the session after the decision. Each strategy
turns it and the session's real bar into one trade (``trade_bars``), under the rules of
:mod:`backtest.simulation.intrabar`:

- ``simple``: in at the open on the side of the predicted close, out at the close.
- ``all_signals``: the same, only where predicted close, high and low agree on the side.
- ``entry_takeprofit``: in at the open, out at the predicted high (long) or low (short).
- ``highlow``: a long enters at the predicted low, leaves at the predicted high; a short mirrored.
- ``maxdiff``: highlow with levels moved by offsets that ``fit_offsets`` chose on earlier folds.
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

from .intrabar import enter_at_limit, enter_at_open

__all__ = [
    "STRATEGIES",
    "Offsets",
    "fit_offsets",
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
        return direction, *enter_at_open(side)
    if strategy == "all_signals":
        agree = ((high - last).sign() == direction) & ((low - last).sign() == direction)
        return pl.when(agree).then(direction).otherwise(0), *enter_at_open(side)
    target = pl.when(side > 0).then(high).otherwise(low)
    if strategy == "entry_takeprofit":
        return direction, *enter_at_open(side, target)
    entry = pl.when(side > 0).then(low).otherwise(high)
    entry = entry + side * offsets.entry * last
    target = target - side * offsets.target * last
    return direction, *enter_at_limit(side, entry, target)


def fit_offsets(
    forecasts: pl.DataFrame, *, grid: Sequence[float], round_trip_bps: float
) -> Offsets:
    """The pair of offsets from ``grid`` × ``grid`` with the highest mean net return.

    In-sample by construction: give it only sessions that lie in the past of what is traded with it.
    """
    best, most = Offsets(), float("-inf")
    for entry, target in itertools.product(grid, repeat=2):
        offsets = Offsets(entry, target)
        trades = trade_bars(
            forecasts, strategy="highlow", round_trip_bps=round_trip_bps, offsets=offsets
        )
        mean = trades["net"].mean()
        if isinstance(mean, float) and mean > most:
            best, most = offsets, mean
    return best


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
    points = [Offsets(*pair) for pair in itertools.product(grid, repeat=2)]
    net = np.column_stack([net_returns(rows, point, round_trip_bps) for point in points])
    days = np.array(sorted(set(rows["asof"]) if sessions is None else sessions), "datetime64[D]")
    place = np.searchsorted(days, rows["asof"].to_numpy().astype("datetime64[D]"))
    month = rows["asof"].dt.truncate("1mo").to_numpy()
    chosen = np.full(rows.height, -1)
    hindsight = np.zeros(rows.height, dtype=np.int64)
    for members in _groups(rows, by_ticker=by_ticker):
        hindsight[members] = net[members].sum(axis=0).argmax()
        chosen[members] = _walk(net[members], place[members], month[members], min_rows, embargo)
    at = np.arange(rows.height)
    pairs = np.array(list(itertools.product(grid, repeat=2)), dtype=np.float64)
    offsets = np.where(chosen[:, None] >= 0, pairs[chosen], np.nan)
    fitted = rows.with_columns(
        entry_offset=pl.Series(offsets[:, 0]).fill_nan(None),
        target_offset=pl.Series(offsets[:, 1]).fill_nan(None),
    )
    trades = trade_bars(
        fitted,
        strategy="highlow",
        round_trip_bps=round_trip_bps,
        offsets=Offsets(pl.col("entry_offset"), pl.col("target_offset")),
    )
    traded = fitted["entry_offset"].is_not_null()
    return trades.with_columns(
        side=pl.when(traded).then("side").otherwise(pl.lit(0, dtype=pl.Int8)),
        net=pl.when(traded).then("net"),
        in_sample=pl.Series(net[at, hindsight]),
        entry_offset=fitted["entry_offset"],
        target_offset=fitted["target_offset"],
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

"""Labels: what a ticker earned over the sessions after an asof, beside its benchmark.

1. `_DensePrices` lays the bars out, [session, ticker], so that h sessions ahead is one shift; a
   ticker without a bar at t+h has its last price before it there.
2. `_fill` takes P(t), O(t+1) and P(t+h) and subtracts what `_benchmark_returns` gives or,
   without a benchmark, the mean of the cross-section.
3. `_Rows.frame` lays the horizons of a ticker one below the other.

It works on arrays: a join of every (ticker, date, horizon) with its exit would take minutes for a
whole market (`python -m engine.bench judging`).

Labels know the future by definition; `matures` says when. A label whose `matures` lies after the
last session of the market is null.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from engine.data import Market
from engine.errors import UsageError
from engine.features.index import adjusted_close, attach_known

__all__ = ["LABELS", "compute_labels"]

LABELS = pl.Schema(
    {
        "asof": pl.Date,
        "ticker": pl.String,
        "horizon": pl.Int32,
        "label": pl.Float64,
        "label_next_open": pl.Float64,
        "total_return": pl.Float64,
        "matures": pl.Date,
        "mature": pl.Boolean,
        "label_flag": pl.String,
    }
)

_FLAGS = pl.Series(["delisted", "stale", "no benchmark", None], dtype=pl.String)
_DELISTED, _STALE, _NO_BENCHMARK, _NO_FLAG = np.arange(4, dtype=np.uint8)
_ASOFS_AT_A_TIME = 64
"""So that what is between prices and rows stays small beside them."""
_Held = dict[int, tuple[np.ndarray, np.ndarray]]
"""Horizon → what the benchmark earned from each asof's close, and from the next open."""


def compute_labels(market: Market, asofs: Sequence[date], horizons: Sequence[int]) -> pl.DataFrame:
    """Label of every ticker with a bar at an asof, for every horizon.

    With P the adjusted close, O the adjusted open and b the benchmark:

    - total_return = P(t+h)/P(t) − 1
    - label = total_return − (b(t+h)/b(t) − 1)
    - label_next_open = P(t+h)/O(t+1) − 1 − (b(t+h)/b_open(t+1) − 1); null without a bar at t+1.
      A benchmark without an open at t+1 is entered at its last close at or before t.

    Without a benchmark, the mean over the asof's labelled tickers takes its place; only over its
    members where the universe has members. A benchmark date without a row takes the last price
    before it.

    Parameters
    ----------
    market
        Candidates, benchmark and calendar.
    asofs
        Sessions of the calendar.
    horizons
        Sessions ahead, each at least 1.

    Returns
    -------
    asof, ticker, horizon, label, label_next_open, total_return, matures (the session t+h), mature
    (t+h is not after the market's last session) and label_flag, sorted by the first three.

    label_flag is "delisted" where the ticker's last bar came before t+h and its last price was
    taken, "stale" where it trades again later, "no benchmark" where the benchmark has no price
    (`index.MAX_AGE`) and the label is null.

    Raises
    ------
    UsageError
        An asof is not a session.
    """
    if min(horizons, default=1) < 1:
        raise ValueError(f"a horizon is at least 1 session, not {min(horizons)}")
    if not asofs or not horizons:
        return pl.DataFrame(schema=LABELS)
    ahead = sorted(set(horizons))
    sessions = market.calendar.sessions(min(asofs), market.calendar.offset(max(asofs), max(ahead)))
    strangers = sorted(set(asofs).difference(sessions))
    if strangers:
        raise UsageError(f"asof {strangers[0]} is not a session of {market.calendar.name}")
    grid = _DensePrices.of(market, sessions)
    at = np.flatnonzero(np.isin(grid.sessions, np.asarray(asofs, dtype="datetime64[D]")))
    held = None
    if market.benchmark is not None:
        held = {h: _benchmark_returns(market.benchmark, grid, at, h) for h in ahead}
    places = np.arange(len(at))
    pieces = np.array_split(places, max(1, len(at) // _ASOFS_AT_A_TIME))

    def rows(piece: np.ndarray) -> pl.DataFrame:
        part = held and {h: (close[piece], opened[piece]) for h, (close, opened) in held.items()}
        return _rows(grid, market, at[piece], ahead, part)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return pl.concat(pool.map(rows, pieces))


@dataclass(frozen=True)
class _DensePrices:
    """Prices [session, ticker], NaN where a ticker has no bar.

    Attributes
    ----------
    sessions
        datetime64[D] [S].
    names
        The market's candidates, sorted; N of them.
    open, close
        f64 [S, N], adjusted.
    last_close
        f64 [S, N]: the close at the session or, without a bar, the last one of the grid before it.
    priced_at
        int32 [S, N]: the row of `last_close`'s bar; −1 before the first.
    last_bar
        datetime64[D] [N]: the ticker's last bar in the market, whatever the grid covers.
    """

    sessions: np.ndarray
    names: pl.Series
    open: np.ndarray
    close: np.ndarray
    last_close: np.ndarray
    priced_at: np.ndarray
    last_bar: np.ndarray

    @staticmethod
    def of(market: Market, sessions: Sequence[date]) -> _DensePrices:
        """The market's bars on `sessions` (ascending, at least one)."""
        days = np.asarray(sessions, dtype="datetime64[D]")
        runs = market.bars["ticker"].rle()
        names = runs.struct.field("value")
        lengths = runs.struct.field("len").to_numpy()
        dates = market.bars["date"].to_numpy()
        columns = np.repeat(np.arange(len(names)), lengths)
        rows = _places(days, dates)
        known = rows >= 0
        cells = rows[known] * len(names) + columns[known]

        def spread(price: pl.Expr) -> np.ndarray:
            grid = np.full((len(days), len(names)), np.nan)
            grid.ravel()[cells] = market.bars.select(price).to_series().to_numpy()[known]
            return grid

        close = spread(adjusted_close())
        quoted = ~np.isnan(close)
        at = np.where(quoted, np.arange(len(days), dtype=np.int32)[:, None], np.int32(-1))
        priced_at = np.maximum.accumulate(at, axis=0)
        last_close = np.take_along_axis(close, np.maximum(priced_at, 0), axis=0)
        return _DensePrices(
            sessions=days,
            names=names,
            open=spread(pl.col("open") * pl.col("adj_factor")),
            close=close,
            last_close=last_close,
            priced_at=priced_at,
            last_bar=dates[np.cumsum(lengths) - 1],
        )


def _places(days: np.ndarray, dates: np.ndarray) -> np.ndarray:
    """Index in `days` of each date; −1 for those that are none of them."""
    since = dates.astype(np.int64) - days[0].astype(np.int64)
    calendar = np.full(int((days[-1] - days[0]).astype(np.int64)) + 1, -1)
    calendar[(days - days[0]).astype(np.int64)] = np.arange(len(days))
    inside = (since >= 0) & (since < len(calendar))
    return np.where(inside, calendar[np.where(inside, since, 0)], -1)


def _rows(
    grid: _DensePrices, market: Market, at: np.ndarray, horizons: list[int], held: _Held | None
) -> pl.DataFrame:
    """The rows of some asofs, sorted by asof, ticker, horizon."""
    quoted = ~np.isnan(grid.close[at])
    day, ticker = np.nonzero(quoted)
    rows = _Rows.empty(len(day), len(horizons))
    averaged = quoted if held else quoted & _members(market, grid, at)
    for column, horizon in enumerate(horizons):
        benchmark = held[horizon] if held else None
        _fill(rows, column, grid, market, at, quoted, horizon, benchmark, averaged)
    return rows.frame(
        asof=np.repeat(_days(grid.sessions[at])[day], len(horizons)),
        ticker=grid.names.gather(np.repeat(ticker.astype(np.uint32), len(horizons))),
        horizon=np.tile(np.asarray(horizons, dtype=np.int32), len(day)),
    )


@dataclass(frozen=True)
class _Rows:
    """Labels [ticker with a bar at its asof, horizon]; NaN stands for null, days count from 1970.

    `flag` indexes `_FLAGS`.
    """

    label: np.ndarray
    label_next_open: np.ndarray
    total_return: np.ndarray
    matures: np.ndarray
    mature: np.ndarray
    flag: np.ndarray

    @staticmethod
    def empty(n: int, horizons: int) -> _Rows:
        kinds = (np.float64, np.float64, np.float64, np.int32, np.bool_, np.uint32)
        return _Rows(*(np.empty((n, horizons), dtype=kind) for kind in kinds))

    def frame(self, *, asof: np.ndarray, ticker: pl.Series, horizon: np.ndarray) -> pl.DataFrame:
        """The long frame, horizons beside each other read row by row."""
        numbers = ("label", "label_next_open", "total_return")
        return pl.DataFrame(
            {
                "asof": pl.Series(asof).cast(pl.Date),
                "ticker": ticker,
                "horizon": horizon,
                **{
                    name: pl.Series(getattr(self, name).ravel(), nan_to_null=True)
                    for name in numbers
                },
                "matures": pl.Series(self.matures.ravel()).cast(pl.Date),
                "mature": self.mature.ravel(),
                "label_flag": _FLAGS.gather(self.flag.ravel()),
            },
            schema=LABELS,
        )


def _fill(
    rows: _Rows,
    column: int,
    grid: _DensePrices,
    market: Market,
    at: np.ndarray,
    quoted: np.ndarray,
    horizon: int,
    benchmark: tuple[np.ndarray, np.ndarray] | None,
    averaged: np.ndarray,
) -> None:
    """One horizon's labels into a column of `rows`.

    `benchmark` holds what it earned by asof; without it the mean over the cells of `averaged` does.
    """
    day = np.nonzero(quoted)[0]
    matures = grid.sessions[at + horizon]
    mature = matures <= np.datetime64(market.last_session)
    exits = np.where(mature[:, None], grid.last_close[at + horizon], np.nan)
    total = exits / grid.close[at] - 1
    opened = exits / grid.open[at + 1] - 1
    flag = np.where(grid.last_bar < matures[:, None], _DELISTED, _STALE)
    flag[(grid.priced_at[at + horizon] == (at + horizon)[:, None]) | ~mature[:, None]] = _NO_FLAG
    if benchmark is None:
        held, held_next = _mean(total, averaged), _mean(opened, averaged)
    else:
        held, held_next = benchmark
        flag[np.isnan(held) & mature] = _NO_BENCHMARK
    rows.label[:, column] = (total - held[:, None])[quoted]
    rows.label_next_open[:, column] = (opened - held_next[:, None])[quoted]
    rows.total_return[:, column] = total[quoted]
    rows.matures[:, column] = _days(matures)[day]
    rows.mature[:, column] = mature[day]
    rows.flag[:, column] = flag[quoted]


def _members(market: Market, grid: _DensePrices, at: np.ndarray) -> np.ndarray:
    """[asof, ticker]: whether it belongs to the universe; all of them where everybody does."""
    if market.members is None:
        return np.ones((len(at), len(grid.names)), dtype=bool)
    inside = np.zeros((len(at), len(grid.names)), dtype=bool)
    columns = dict(zip(grid.names.to_list(), range(len(grid.names)), strict=True))
    days = grid.sessions[at]
    for ticker, first, last in market.members.select("ticker", "from", "to").iter_rows():
        if ticker in columns:
            until = days[-1] if last is None else np.datetime64(last)
            inside[(days >= np.datetime64(first)) & (days <= until), columns[ticker]] = True
    return inside


def _days(dates: np.ndarray) -> np.ndarray:
    return dates.astype(np.int64).astype(np.int32)


def _mean(values: np.ndarray, averaged: np.ndarray) -> np.ndarray:
    """Mean over those tickers of each asof; NaN where there is none."""
    known = averaged & ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def _benchmark_returns(
    benchmark: pl.DataFrame, grid: _DensePrices, at: np.ndarray, horizon: int
) -> tuple[np.ndarray, np.ndarray]:
    """b(t+h)/b(t) − 1 and b(t+h)/b_open(t+1) − 1 of each asof; NaN where b is not known."""
    windows = pl.DataFrame(
        {
            "asof": grid.sessions[at],
            "next": grid.sessions[at + 1],
            "matures": grid.sessions[at + horizon],
        }
    ).with_columns(pl.all().cast(pl.Date))
    for on, column in (("asof", "b_entry"), ("matures", "b_exit")):
        windows = attach_known(windows, benchmark, on=on, **{column: "close"})
    opens = benchmark.select(next="date", b_open="open")
    found = windows.join(opens, on="next", how="left", maintain_order="left").select(
        b=pl.col("b_exit") / pl.col("b_entry") - 1,
        b_next=pl.col("b_exit") / pl.coalesce("b_open", "b_entry") - 1,
    )
    return found["b"].to_numpy(), found["b_next"].to_numpy()

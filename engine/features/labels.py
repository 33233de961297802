"""Labels: what a ticker earned over the sessions after an asof, beside its benchmark.

1. `PriceGrid` lays the bars out densely, [session, ticker], so that h sessions ahead is one shift;
   a ticker without a bar at t+h has its last price before it there.
2. `_columns` takes P(t), O(t+1) and P(t+h) and subtracts what `_benchmark_returns` gives or,
   without a benchmark, the mean of the cross-section.
3. `_long` turns the rows of the grid into the long frame.

It works on arrays: a join of every (ticker, date, horizon) with its exit would take minutes for a
whole market (`python -m engine.bench judging`).

Labels know the future by definition; `matures` says when. A label whose `matures` lies after the
last session of the market is null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from engine.data import Market
from engine.errors import UsageError
from engine.features.known import attach_known
from engine.features.price_grid import PriceGrid

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

_FLAGS = ("delisted", "stale", "no benchmark")
_DELISTED, _STALE, _NO_BENCHMARK, _NO_FLAG = 0, 1, 2, -1


def compute_labels(market: Market, asofs: Sequence[date], horizons: Sequence[int]) -> pl.DataFrame:
    """Label of every ticker with a bar at an asof, for every horizon.

    With P the adjusted close, O the adjusted open and b the benchmark:

    - total_return = P(t+h)/P(t) − 1
    - label = total_return − (b(t+h)/b(t) − 1)
    - label_next_open = P(t+h)/O(t+1) − 1 − (b(t+h)/b_open(t+1) − 1); null without a bar at t+1.
      A benchmark without an open at t+1 is entered at its last close at or before t.

    Without a benchmark, the mean over the asof's labelled tickers takes its place. A benchmark
    date without a row takes the last price before it.

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
    (`known.MAX_AGE`) and the label is null.

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
    grid = PriceGrid.of(market, sessions)
    at = np.flatnonzero(np.isin(grid.sessions, np.asarray(asofs, dtype="datetime64[D]")))
    quoted = ~np.isnan(grid.close[at])
    columns = [_columns(grid, market, at, quoted, horizon) for horizon in ahead]
    return _long(grid, at, quoted, ahead, columns)


@dataclass(frozen=True)
class _Columns:
    """One horizon's labels, [asof × ticker] flattened to the tickers with a bar at their asof.

    NaN stands for null; `flag` indexes `_FLAGS`, −1 is none. `matures` and `mature` are by asof.
    """

    label: np.ndarray
    label_next_open: np.ndarray
    total_return: np.ndarray
    flag: np.ndarray
    matures: np.ndarray
    mature: np.ndarray


def _columns(
    grid: PriceGrid, market: Market, at: np.ndarray, quoted: np.ndarray, horizon: int
) -> _Columns:
    matures = grid.sessions[at + horizon]
    mature = matures <= np.datetime64(market.last_session)
    exits = np.where(mature[:, None], grid.last_close[at + horizon], np.nan)
    total = exits / grid.close[at] - 1
    opened = exits / grid.open[at + 1] - 1
    flag = np.where(grid.last_bar < matures[:, None], _DELISTED, _STALE).astype(np.int8)
    flag[(grid.priced_at[at + horizon] == (at + horizon)[:, None]) | ~mature[:, None]] = _NO_FLAG
    if market.benchmark is None:
        # Only tickers with a bar at the asof are labelled; their mean is the benchmark.
        held, held_next = _mean(total, quoted), _mean(opened, quoted)
    else:
        held, held_next = _benchmark_returns(market.benchmark, grid, at, horizon)
        flag[np.isnan(held) & mature] = _NO_BENCHMARK
    return _Columns(
        label=(total - held[:, None])[quoted],
        label_next_open=(opened - held_next[:, None])[quoted],
        total_return=total[quoted],
        flag=flag[quoted],
        matures=matures,
        mature=mature,
    )


def _mean(values: np.ndarray, quoted: np.ndarray) -> np.ndarray:
    """Mean over the labelled tickers of each asof; NaN where there is none."""
    known = quoted & ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def _benchmark_returns(
    benchmark: pl.DataFrame, grid: PriceGrid, at: np.ndarray, horizon: int
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


def _long(
    grid: PriceGrid,
    at: np.ndarray,
    quoted: np.ndarray,
    horizons: list[int],
    columns: list[_Columns],
) -> pl.DataFrame:
    """Rows sorted by asof, ticker, horizon: one horizon beside the other, read row by row."""
    day, ticker = np.nonzero(quoted)
    width = len(horizons)

    def beside(name: str) -> np.ndarray:
        return np.stack([getattr(part, name) for part in columns], axis=1).ravel()

    def by_asof(name: str) -> np.ndarray:
        return np.stack([getattr(part, name) for part in columns], axis=1)[day].ravel()

    def number(name: str) -> pl.Series:
        return pl.Series(name, beside(name), nan_to_null=True)

    names = pl.Series("ticker", grid.tickers, dtype=pl.String)
    flags = pl.Series("label_flag", [*_FLAGS, None], dtype=pl.String)
    return pl.DataFrame(
        [
            pl.Series("asof", np.repeat(grid.sessions[at][day], width)).cast(pl.Date),
            names.gather(np.repeat(ticker.astype(np.uint32), width)),
            pl.Series("horizon", np.tile(np.asarray(horizons, dtype=np.int32), len(day))),
            number("label"),
            number("label_next_open"),
            number("total_return"),
            pl.Series("matures", by_asof("matures")).cast(pl.Date),
            pl.Series("mature", by_asof("mature")),
            flags.gather((beside("flag") % len(flags)).astype(np.uint32)),
        ],
    ).match_to_schema(LABELS)

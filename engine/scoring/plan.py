"""What has to be scored: a pure function of bars, decision dates and settings.

1. `plan_windows` looks at every (asof, ticker) and says whether a full window ends there.
2. `window_hashes` gives each window the hash of all it feeds to the model.
3. `cut_shards` groups the windows that are still missing into units of work, made when asked for.

Sized for 5,000 tickers on 2,500 dates: a window costs 32 bytes here, a shard none until its turn.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

import numpy as np
import polars as pl

from engine.calendar import TradingCalendar
from engine.scoring.bar_grid import BarGrid
from engine.scoring.price_array import PriceArray
from engine.scoring.shard import Shard, Shards, window_seed
from engine.scoring.window_hash import window_hashes

__all__ = ["Shard", "WindowPlan", "cut_shards", "plan_windows", "window_seed"]

RECENT_SESSIONS = 10
GAP_SHARE = 0.05
NO_BAR = "no bar at asof"
SHORT = "history shorter than lookback"
GAPS = "too many missing sessions in lookback"
REASONS = (NO_BAR, SHORT, GAPS)
STATUS = pl.Enum(["planned", "skipped"])
NO_CANDIDATE, PLANNED = -2, -1


@dataclass(frozen=True)
class WindowPlan:
    """Every candidate (asof, ticker).

    Attributes
    ----------
    windows
        asof, ticker, ticker_id, row (last row in the price array), status (planned | skipped),
        reason, hash (null when skipped); sorted by asof, ticker.
    future
        asof → datetime64 [steps], the bars to forecast: the calendar's next ones.
    grid
        The bars the calendar expects; None where steps are sessions.
    lookback
        Bars a window holds.
    seed
        The run's seed.
    """

    windows: pl.DataFrame
    future: dict[date, np.ndarray]
    grid: BarGrid | None
    lookback: int
    seed: int

    @property
    def planned(self) -> pl.DataFrame:
        """Windows to be scored."""
        planned = self.windows["status"] == "planned"
        return self.windows if planned.all() else self.windows.filter(planned)

    @property
    def skipped(self) -> dict[str, int]:
        """Skipped windows by reason."""
        reasons = self.windows["reason"].drop_nulls().cast(pl.String)
        return dict(sorted(reasons.value_counts().iter_rows()))

    def horizon_steps(self, horizons: Sequence[int]) -> pl.DataFrame:
        """asof, horizon, step: how many bars after its window a horizon of sessions ends."""
        days = list(self.future)
        if self.grid is None:
            steps = [list(horizons) for _ in days]
        else:
            steps = [[self.grid.steps_to(day, h) for h in horizons] for day in days]
        per_day = pl.List(pl.Int32())
        schema = pl.Schema({"asof": pl.Date(), "horizon": per_day, "step": per_day})
        columns = {"asof": days, "horizon": [list(horizons) for _ in days], "step": steps}
        return pl.DataFrame(columns, schema=schema).explode("horizon", "step")


def plan_windows(
    prices: PriceArray,
    calendar: TradingCalendar,
    asofs: Sequence[date],
    *,
    lookback: int,
    steps: int,
    seed: int,
) -> WindowPlan:
    """Windows that end with each asof, with the reason where none can be had.

    A ticker is a candidate at an asof if it has a bar there, or had one in the ten sessions
    before (then it is skipped: "no bar at asof"). A window is the ticker's last `lookback` bars
    up to the asof's last; at most 5 % of the bars they span may be missing. Nothing after the
    asof is looked at. The forecast's `steps` timestamps are the calendar's next bars.
    """
    decisions = np.unique(np.array(asofs, dtype="datetime64[D]"))
    grid = _grid(prices, calendar, decisions, steps)
    _release_freed_memory()
    shape = (len(decisions), len(prices.tickers))
    last, status = np.empty(shape, dtype=np.int32), np.empty(shape, dtype=np.int8)
    for ticker_id in range(len(prices.tickers)):
        last[:, ticker_id], status[:, ticker_id] = _ticker_windows(
            prices, grid, ticker_id, decisions, lookback
        )
    # Ten million windows and more: indices are int32, and nothing is kept longer than it must.
    candidates = status != NO_CANDIDATE
    rows, found = last[candidates], status[candidates]
    del last, status
    asof_ids, ticker_ids = (
        np.broadcast_to(ids, shape)[candidates]
        for ids in (
            np.arange(shape[0], dtype=np.int32)[:, None],
            np.arange(shape[1], dtype=np.int32),
        )
    )
    used = _used(asof_ids)
    future = {day: _future(grid, prices, day, steps) for day in decisions[used].tolist()}
    number = np.zeros(len(decisions), dtype=np.int32)  # of a decision among the used ones
    number[used] = np.arange(len(used))
    planned = found == PLANNED
    hashes = window_hashes(
        prices,
        rows[planned],
        lookback,
        np.array(list(future.values())),
        number[asof_ids[planned]],
        where=planned,
    )
    _release_freed_memory()
    windows = _frame(prices, decisions, asof_ids, ticker_ids, rows, found, hashes)
    intraday = grid if prices.interval is not None else None
    return WindowPlan(windows=windows, future=future, grid=intraday, lookback=lookback, seed=seed)


def _used(asof_ids: np.ndarray) -> np.ndarray:
    """The asofs that have a candidate, once each, in order; `asof_ids` is sorted."""
    return np.flatnonzero(np.bincount(asof_ids)) if len(asof_ids) else asof_ids


def _grid(
    prices: PriceArray, calendar: TradingCalendar, decisions: np.ndarray, steps: int
) -> BarGrid:
    """Every bar expected from the first one to the end of the last forecast."""
    first, last = prices.dates.min().item(), decisions[-1].item()
    ahead = steps if prices.interval is None else 1
    while True:
        grid = BarGrid.between(calendar, first, calendar.offset(last, ahead), prices.interval)
        if len(grid.after(last, steps)) == steps:
            return grid
        ahead *= 2


def _future(grid: BarGrid, prices: PriceArray, asof: date, steps: int) -> np.ndarray:
    times = grid.after(asof, steps)
    return times.astype("datetime64[D]") if prices.interval is None else times


def _ticker_windows(
    prices: PriceArray, grid: BarGrid, ticker_id: int, decisions: np.ndarray, lookback: int
) -> tuple[np.ndarray, np.ndarray]:
    """Per asof the last row of the ticker's window, and what was found there."""
    first, stop = int(prices.offsets[ticker_id]), int(prices.offsets[ticker_id + 1])
    dates = prices.dates[first:stop]
    times = prices.stamps[first:stop]
    held = np.searchsorted(dates, decisions, side="right")  # bars at or before each asof
    last = np.maximum(held - 1, 0)
    since = _count(grid.sessions, dates[last], decisions)
    oldest = np.maximum(held - lookback, 0)
    missing = _count(grid.times, times[oldest], times[last]) + 1 - lookback
    found = np.full(len(decisions), PLANNED, dtype=np.int8)
    found[missing > GAP_SHARE * lookback] = REASONS.index(GAPS)
    found[held < lookback] = REASONS.index(SHORT)
    found[since > 0] = REASONS.index(NO_BAR)
    found[(held == 0) | (since > RECENT_SESSIONS)] = NO_CANDIDATE
    return first + last, found


def _count(sessions: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """int64: how many of `sessions` lie after each start, up to and including each end."""
    return np.searchsorted(sessions, end) - np.searchsorted(sessions, start)


def _frame(
    prices: PriceArray,
    decisions: np.ndarray,
    asof_ids: np.ndarray,
    ticker_ids: np.ndarray,
    rows: np.ndarray,
    found: np.ndarray,
    hashes: pl.Series,
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "asof": pl.Series(decisions).cast(pl.Date).gather(asof_ids),
            "ticker": pl.Series(prices.tickers, dtype=pl.String).gather(ticker_ids),
            "ticker_id": ticker_ids,
            "row": rows,
            "status": pl.Series((found != PLANNED).astype(np.uint8)).cat.to(STATUS),
            "reason": pl.Series(np.where(found == PLANNED, len(REASONS), found).astype(np.uint8))
            .replace(len(REASONS), None)
            .cat.to(pl.Enum(REASONS)),
            "hash": hashes,
        }
    )


def cut_shards(plan: WindowPlan, missing: pl.DataFrame, size: int) -> Sequence[Shard]:
    """The missing windows in shards of at most `size`, in (asof, ticker) order, made on demand."""
    return Shards(
        missing.select("asof", "ticker", "ticker_id", "row", "hash"),
        plan.future,
        seed=plan.seed,
        size=size,
    )


def _release_freed_memory() -> None:
    """Between steps that each free large arrays: glibc keeps blocks of up to 32 MB for itself.

    Does nothing where the C library has no such call.
    """
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, or none to be had this way
        return lambda keep: None

"""What has to be scored: a pure function of bars, decision dates and settings.

1. `plan_windows` looks at every (asof, ticker) and says whether a full window ends there.
2. `hash_windows` gives each window the hash of all it feeds to the model.
3. `cut_shards` groups the windows that are still missing into units of work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from engine.calendar import TradingCalendar
from engine.scoring.forecaster import WindowPanel
from engine.scoring.price_array import PriceArray

__all__ = ["Shard", "WindowPlan", "cut_shards", "plan_windows", "window_seed"]

RECENT_SESSIONS = 10
GAP_SHARE = 0.05
NO_BAR = "no bar at asof"
SHORT = "history shorter than lookback"
GAPS = "too many missing sessions in lookback"


@dataclass(frozen=True)
class Shard:
    """The unit of work, of retry and of checkpoint.

    Attributes:
        rows: int64 [n], last row of each window in the price array.
        ticker_ids: int64 [n].
        future: datetime64[D] [n, steps].
        seeds: uint64 [n].
        hashes: n window hashes.
    """

    rows: np.ndarray
    ticker_ids: np.ndarray
    future: np.ndarray
    seeds: np.ndarray
    hashes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def id(self) -> str:
        """Content address: the hash of its windows and their seeds."""
        digest = hashlib.sha256("".join(self.hashes).encode())
        digest.update(self.seeds.tobytes())
        return digest.hexdigest()[:20]

    def halves(self) -> tuple[Shard, Shard]:
        """The shard in two, for finding the window that breaks it."""
        middle = len(self) // 2
        return self._slice(slice(None, middle)), self._slice(slice(middle, None))

    def _slice(self, part: slice) -> Shard:
        return Shard(
            self.rows[part],
            self.ticker_ids[part],
            self.future[part],
            self.seeds[part],
            self.hashes[part],
        )

    def panel(self, prices: PriceArray, lookback: int) -> WindowPanel:
        """The windows themselves, cut from the shared array."""
        return WindowPanel(
            tickers=tuple(prices.tickers[i] for i in self.ticker_ids),
            values=np.stack([prices.window(int(row), lookback) for row in self.rows]),
            stamps=np.stack([prices.dates[row - lookback + 1 : row + 1] for row in self.rows]),
            future=self.future,
            seeds=self.seeds,
        )

    def asof(self, prices: PriceArray) -> np.ndarray:
        """datetime64[D] [n]: the decision date of each window."""
        return prices.dates[self.rows]


@dataclass(frozen=True)
class WindowPlan:
    """Every candidate (asof, ticker).

    Attributes:
        windows: asof, ticker, ticker_id, row (last row in the price array), status
            (planned | skipped), reason, hash (null when skipped); sorted by asof, ticker.
        future: asof → datetime64[D] [steps].
        lookback: bars a window holds.
        seed: the run's seed.
    """

    windows: pl.DataFrame
    future: dict[date, np.ndarray]
    lookback: int
    seed: int

    @property
    def planned(self) -> pl.DataFrame:
        """Windows to be scored."""
        return self.windows.filter(pl.col("status") == "planned")

    @property
    def skipped(self) -> dict[str, int]:
        """Skipped windows by reason."""
        counts = self.windows.filter(pl.col("status") == "skipped").group_by("reason").len()
        return dict(sorted(counts.iter_rows()))


def plan_windows(
    prices: PriceArray,
    calendar: TradingCalendar,
    asofs: Sequence[date],
    *,
    lookback: int,
    steps: int,
    seed: int,
) -> WindowPlan:
    """Windows that end at each asof, with the reason where none can be had.

    A ticker is a candidate at an asof if it has a bar there, or had one in the ten sessions
    before (then it is skipped: "no bar at asof"). A window is the ticker's last `lookback` bars;
    at most 5 % of the sessions they span may be missing. Nothing after the asof is looked at.
    """
    sessions = _sessions(prices, calendar, asofs)
    windows = pl.concat(
        _ticker_windows(prices, sessions, ticker_id, asofs, lookback)
        for ticker_id in range(len(prices.tickers))
    ).sort("asof", "ticker")
    future = {
        asof: np.array(calendar.future(asof, steps), dtype="datetime64[D]")
        for asof in windows["asof"].unique(maintain_order=True)
    }
    hashes = [
        _window_hash(prices, row, lookback, future[asof]) if status == "planned" else None
        for asof, row, status in windows.select("asof", "row", "status").iter_rows()
    ]
    windows = windows.with_columns(pl.Series("hash", hashes, dtype=pl.String))
    return WindowPlan(windows=windows, future=future, lookback=lookback, seed=seed)


def _sessions(prices: PriceArray, calendar: TradingCalendar, asofs: Sequence[date]) -> np.ndarray:
    """datetime64[D]: every session from the first bar to the last bar or asof."""
    first = prices.dates.min().item()
    last = max([prices.dates.max().item(), *asofs])
    return np.array(calendar.sessions(first, last), dtype="datetime64[D]")


def _ticker_windows(
    prices: PriceArray,
    sessions: np.ndarray,
    ticker_id: int,
    asofs: Sequence[date],
    lookback: int,
) -> pl.DataFrame:
    first, stop = int(prices.offsets[ticker_id]), int(prices.offsets[ticker_id + 1])
    dates = prices.dates[first:stop]
    decisions = np.array(asofs, dtype="datetime64[D]")
    held = np.searchsorted(dates, decisions, side="right")  # bars at or before each asof
    known = np.flatnonzero(held > 0)
    decisions, held = decisions[known], held[known]
    last = dates[held - 1]
    since = _sessions_between(sessions, last, decisions)
    candidate = since <= RECENT_SESSIONS
    decisions, held, last, since = (part[candidate] for part in (decisions, held, last, since))
    oldest = dates[np.maximum(held - lookback, 0)]
    missing = _sessions_between(sessions, oldest, last) + 1 - lookback
    reason = np.full(len(held), None, dtype=object)
    reason[missing > GAP_SHARE * lookback] = GAPS
    reason[held < lookback] = SHORT
    reason[since > 0] = NO_BAR
    return pl.DataFrame(
        {
            "asof": pl.Series(decisions).cast(pl.Date),
            "ticker": pl.Series([prices.tickers[ticker_id]] * len(held), dtype=pl.String),
            "ticker_id": np.full(len(held), ticker_id, dtype=np.int64),
            "row": (first + held - 1).astype(np.int64),
            "status": pl.Series(
                ["planned" if r is None else "skipped" for r in reason], dtype=pl.String
            ),
            "reason": pl.Series(list(reason), dtype=pl.String),
        }
    )


def _sessions_between(sessions: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """int64: how many sessions lie after each start, up to and including each end."""
    return np.searchsorted(sessions, end) - np.searchsorted(sessions, start)


def _window_hash(prices: PriceArray, row: int, lookback: int, future: np.ndarray) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(prices.window(row, lookback).tobytes())
    digest.update(prices.dates[row - lookback + 1 : row + 1].astype(np.int64).tobytes())
    digest.update(future.astype(np.int64).tobytes())
    return digest.hexdigest()


def window_seed(run_seed: int, asof: date, ticker: str) -> int:
    """The 63-bit seed of one window: a hash, so that no other window's number is near it."""
    text = f"{run_seed}/{asof.isoformat()}/{ticker}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def cut_shards(plan: WindowPlan, missing: pl.DataFrame, size: int) -> list[Shard]:
    """The missing windows in shards of at most `size`, in (asof, ticker) order."""
    shards = []
    for part in missing.iter_slices(size):
        asofs, tickers = part["asof"].to_list(), part["ticker"].to_list()
        shards.append(
            Shard(
                rows=part["row"].to_numpy().copy(),
                ticker_ids=part["ticker_id"].to_numpy().copy(),
                future=np.stack([plan.future[asof] for asof in asofs]),
                seeds=np.array(
                    [window_seed(plan.seed, a, t) for a, t in zip(asofs, tickers, strict=True)],
                    dtype=np.uint64,
                ),
                hashes=tuple(part["hash"].to_list()),
            )
        )
    return shards

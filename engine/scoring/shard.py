"""A handful of windows that are scored, retried and committed together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import overload

import numpy as np
import polars as pl

from engine.forecasters.forecaster import WindowPanel
from engine.scoring.price_array import PriceArray

__all__ = ["Shard", "Shards", "window_seed"]


@dataclass(frozen=True)
class Shard:
    """The unit of work, of retry and of checkpoint.

    Attributes
    ----------
    rows
        int64 [n], last row of each window in the price array.
    ticker_ids
        int64 [n].
    futures
        datetime64 [asofs, steps], the forecast's timestamps of each asof in the shard.
    future_of
        int64 [n], which of them each window has.
    seeds
        uint64 [n].
    hashes
        N window hashes.
    """

    rows: np.ndarray
    ticker_ids: np.ndarray
    futures: np.ndarray
    future_of: np.ndarray
    seeds: np.ndarray
    hashes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def future(self) -> np.ndarray:
        """datetime64 [n, steps]: the timestamps each window is to be forecast at."""
        return self.futures[self.future_of]

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
            self.futures,
            self.future_of[part],
            self.seeds[part],
            self.hashes[part],
        )

    def panel(self, prices: PriceArray, lookback: int) -> WindowPanel:
        """The windows themselves, cut from the shared array."""
        stamps = prices.stamps
        return WindowPanel(
            tickers=tuple(prices.tickers[i] for i in self.ticker_ids),
            values=np.stack([prices.window(int(row), lookback) for row in self.rows]),
            stamps=np.stack([stamps[row - lookback + 1 : row + 1] for row in self.rows]),
            future=self.future,
            seeds=self.seeds,
        )

    def asof(self, prices: PriceArray) -> np.ndarray:
        """datetime64[D] [n]: the decision date of each window."""
        return prices.dates[self.rows]


class Shards(Sequence[Shard]):
    """Windows in shards of at most `size`; each shard is made when it is asked for.

    `windows` holds asof, ticker, ticker_id, row and hash in the order of work.
    """

    def __init__(
        self, windows: pl.DataFrame, future: Mapping[date, np.ndarray], *, seed: int, size: int
    ) -> None:
        self._windows = windows
        self._future = future
        self._seed = seed
        self._size = size

    def __len__(self) -> int:
        return -(-self._windows.height // self._size)

    @overload
    def __getitem__(self, index: int) -> Shard: ...
    @overload
    def __getitem__(self, index: slice) -> list[Shard]: ...
    def __getitem__(self, index: int | slice) -> Shard | list[Shard]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"shard {index} of {len(self)}")
        return self._shard(self._windows.slice((index % len(self)) * self._size, self._size))

    def _shard(self, part: pl.DataFrame) -> Shard:
        asofs = part["asof"].to_list()
        days = {asof: number for number, asof in enumerate(dict.fromkeys(asofs))}
        seeds = [
            window_seed(self._seed, asof, ticker)
            for asof, ticker in zip(asofs, part["ticker"], strict=True)
        ]
        return Shard(
            rows=part["row"].to_numpy().astype(np.int64),
            ticker_ids=part["ticker_id"].to_numpy().astype(np.int64),
            futures=np.stack([self._future[day] for day in days]),
            future_of=np.array([days[asof] for asof in asofs], dtype=np.int64),
            seeds=np.array(seeds, dtype=np.uint64),
            hashes=tuple(part["hash"]),
        )


def window_seed(run_seed: int, asof: date, ticker: str) -> int:
    """The 63-bit seed of one window: a hash, so that no other window's number is near it."""
    text = f"{run_seed}/{asof.isoformat()}/{ticker}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1

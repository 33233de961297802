"""A name for the content of every window, in one pass over the bars however many windows there are.

1. `_bar_words` hashes each bar: its time, its six numbers, its adjustment against the bar before.
2. `_spans` hashes runs of 2, 4, 8 … bars from two runs half as long, for all rows at once, and
   joins those that make up a window: a hash tree (Merkle, 1979) whose parts windows share.
3. Each window's hash is joined with that of the timestamps it is to be forecast at.

So a hash depends on the bars of its window, on their order, on their adjustment relative to the
last of them, and on the forecast's timestamps; on nothing else. The mixing function is the
finaliser of SplitMix64 (Steele, Lea and Flood, 2014), not a cryptographic one: it tells data
apart that differ by accident, 72 bits wide, within one (asof, ticker).
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa

from engine.scoring.price_array import PriceArray

__all__ = ["window_hashes"]

BLOCK_ROWS = 1 << 16
GROUP_ROWS = 1 << 20
HASH_BYTES = 9  # twelve letters of base64, which Polars keeps without a pointer
LANES = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
ORDER = np.uint64(0xD6E8FEB86659FD93)


def window_hashes(
    prices: PriceArray,
    rows: np.ndarray,
    lookback: int,
    futures: np.ndarray,
    future_of: np.ndarray,
    where: np.ndarray | None = None,
) -> pl.Series:
    """String [n]: the hash of each window; with `where`, bool [m], n of them true, [m] with null
    where it is false.

    Parameters
    ----------
    prices
        The bars.
    rows
        Int [n], last row of each window, in any order; each window lies in one ticker.
    lookback
        Bars a window holds.
    futures
        datetime64 [asofs, steps], the timestamps of each asof's forecast.
    future_of
        Int [n], which asof each window belongs to.
    """
    ends = np.array([_digest(stamps) for stamps in futures], dtype=np.uint64)
    names = np.empty((len(rows), HASH_BYTES), dtype=np.uint8)
    for start, stop in _ticker_groups(prices.offsets):
        which = np.flatnonzero((rows >= start) & (rows < stop))
        if len(which):
            names[which] = _names(prices, rows[which], lookback, ends[future_of[which]])
    return _text(names, where)


def _ticker_groups(offsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """Rows of whole tickers, `GROUP_ROWS` or a ticker more at a time: bounds what is in work."""
    marks = np.arange(0, offsets[-1], GROUP_ROWS)
    bounds = np.unique(np.append(offsets[np.searchsorted(offsets, marks)], offsets[-1])).tolist()
    return itertools.pairwise(bounds)


def _names(prices: PriceArray, rows: np.ndarray, lookback: int, ends: np.ndarray) -> np.ndarray:
    """uint8 [n, HASH_BYTES]: each window's hash; `ends` uint64 [n] is that of its forecast."""
    names = np.empty((len(rows), HASH_BYTES), dtype=np.uint8)
    kept = _rows_in_windows(rows, lookback)
    order = np.argsort(rows, kind="stable")
    in_order = rows[order]
    for start, stop in _blocks(len(kept)):
        first = np.searchsorted(in_order, kept[start])
        last = np.searchsorted(in_order, kept[stop - 1], side="right")
        if first == last:
            continue
        begin = max(0, start - lookback + 1)
        which = order[first:last]
        at = np.searchsorted(kept[begin:stop], in_order[first:last])
        lanes = [
            _mix(spans[at] * ORDER + ends[which])
            for spans in (_windows(prices, kept[begin:stop], lookback, lane) for lane in LANES)
        ]
        names[which, :8] = lanes[0][:, None].view(np.uint8)
        names[which, 8] = lanes[1].astype(np.uint8)
    return names


def _digest(stamps: np.ndarray) -> int:
    content = np.ascontiguousarray(stamps.astype("datetime64[us]")).tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _rows_in_windows(rows: np.ndarray, lookback: int) -> np.ndarray:
    """int64: the rows that any window holds, in order."""
    ends = np.unique(rows).astype(np.int64)
    base = ends[0] - lookback + 1
    change = np.zeros(ends[-1] - base + 2, dtype=np.int32)
    change[ends + 1 - base] -= 1
    change[ends - lookback + 1 - base] += 1
    return np.flatnonzero(np.cumsum(change[:-1], dtype=np.int32)) + base


def _blocks(n: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n, BLOCK_ROWS):
        yield start, min(start + BLOCK_ROWS, n)


def _windows(prices: PriceArray, rows: np.ndarray, lookback: int, lane: np.uint64) -> np.ndarray:
    """uint64 [rows]: hash of the `lookback` rows that end at each; the first ones mean nothing."""
    bars = _bar_words(prices, rows, lane)
    steps = prices.adjustment[rows].view(np.uint64)
    linked = _mix(bars * ORDER + steps)
    # The first bar's adjustment is against a bar outside the window.
    spans = _spans(linked, lookback - 1) if lookback > 1 else np.full_like(bars, lane)
    return _mix(_back(bars, lookback - 1) * ORDER + spans)


def _bar_words(prices: PriceArray, rows: np.ndarray, lane: np.uint64) -> np.ndarray:
    stamps = prices.stamps[rows].astype("datetime64[us]").view(np.uint64)
    words = _mix(stamps ^ lane)
    for column in np.ascontiguousarray(prices.values[rows].T).view(np.uint64):
        words = _mix((words ^ column) + lane)
    return words


def _spans(words: np.ndarray, length: int) -> np.ndarray:
    """uint64 [n]: hash of the `length` words up to each, from runs of powers of two."""
    run, width, covered = words, 1, 0
    found: np.ndarray | None = None
    while True:
        if length & width:
            earlier = _back(run, covered)
            found = earlier if found is None else _mix(earlier * ORDER + found)
            covered += width
        width *= 2
        if width > length:
            break
        run = _mix(_back(run, width // 2) * ORDER + run)
    assert found is not None
    return found


def _back(words: np.ndarray, distance: int) -> np.ndarray:
    """The word `distance` rows before each; where there is none, the first."""
    if distance == 0:
        return words
    shifted = np.empty_like(words)
    shifted[distance:] = words[: max(0, len(words) - distance)]
    shifted[:distance] = words[0]
    return shifted


def _mix(words: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: every bit of the result depends on every bit of the word."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _text(names: np.ndarray, where: np.ndarray | None) -> pl.Series:
    """Names as letters, a million at a time."""
    letters = HASH_BYTES * 4 // 3
    present = np.ones(len(names), dtype=bool) if where is None else where
    done, parts = 0, [pl.Series(dtype=pl.String)]
    for start in range(0, len(present), 1 << 20):
        here = present[start : start + (1 << 20)]
        offsets = np.zeros(len(here) + 1, dtype=np.int64)
        np.cumsum(here, out=offsets[1:])
        text = base64.urlsafe_b64encode(names[done : done + offsets[-1]].tobytes())
        done += offsets[-1]
        nulls = pa.py_buffer(np.packbits(here, bitorder="little"))
        buffers = pa.py_buffer(offsets * letters), pa.py_buffer(text), nulls
        parts.append(
            pl.Series(pl.from_arrow(pa.LargeStringArray.from_buffers(len(here), *buffers)))
        )
    return pl.concat(parts)

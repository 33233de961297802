"""Training bars: the arrays of all tickers, one ticker after the other, each in order of time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kronos.bars import COLUMNS
from kronos.embeddings import time_features

__all__ = ["TrainingBars", "training_bars"]


@dataclass(frozen=True, eq=False)
class TrainingBars:
    """Bars as recorded, sorted by (ticker, time).

    tickers : names, sorted
    ticker : int64 [N], the number of the ticker a bar belongs to
    times : datetime64[us] [N], the session or the start of the bar
    values : float64 [N, 6], columns of ``kronos.bars.COLUMNS``
    factor : float64 [N], adjusted price = price · factor
    """

    tickers: tuple[str, ...]
    ticker: np.ndarray
    times: np.ndarray
    values: np.ndarray
    factor: np.ndarray

    def __len__(self) -> int:
        return len(self.times)

    @cached_property
    def stamps(self) -> np.ndarray:
        """int64 [N, 5], see :func:`kronos.time_features`."""
        return time_features(self.times)

    @cached_property
    def moments(self) -> np.ndarray:
        """All times at which any ticker has a bar, sorted and unique."""
        return np.unique(self.times)

    def sha256(self) -> str:
        """Over what training sees: tickers, times, values and factors."""
        digest = hashlib.sha256("\n".join(self.tickers).encode())
        for array in (self.ticker, self.times.astype(np.int64), self.values, self.factor):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def training_bars(
    ticker: Any, times: Any, values: np.ndarray, factor: np.ndarray | None = None
) -> TrainingBars:
    """Sort bars by (ticker, time).

    Parameters
    ----------
    ticker : N names
    times : N dates or moments
    values : [N, 6], columns of ``kronos.bars.COLUMNS``
    factor : [N], None where prices are consistently adjusted

    Raises ValueError for no bars, a number that is not finite, a factor that is not positive, and
    for two bars of a ticker at one time.
    """
    values = np.asarray(values, dtype=np.float64)
    moments = np.asarray(times).astype("datetime64[us]")
    factors = np.ones(len(values)) if factor is None else np.asarray(factor, dtype=np.float64)
    names, number = np.unique(np.asarray(ticker, dtype=str), return_inverse=True)
    if not len(names):
        raise ValueError("there are no bars to train on")
    for name, array in (*zip(COLUMNS, values.T, strict=True), ("adj_factor", factors)):
        broken = ~np.isfinite(array) | ((array <= 0) & (name == "adj_factor"))
        if broken.any():
            at = int(np.argmax(broken))
            raise ValueError(
                f"{names[number[at]]} at {moments[at]}: {name} is {array[at]}; training needs "
                "finite bars and positive factors"
            )
    order = np.lexsort((moments, number))
    number, moments = number[order].astype(np.int64), moments[order]
    twice = (number[1:] == number[:-1]) & (moments[1:] == moments[:-1])
    if twice.any():
        at = int(np.argmax(twice))
        raise ValueError(f"{names[number[at]]} has two bars at {moments[at]}; keep one")
    return TrainingBars(
        tuple(str(name) for name in names), number, moments, values[order], factors[order]
    )

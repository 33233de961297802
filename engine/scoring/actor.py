"""One actor: one forecaster pinned to one slot."""

from __future__ import annotations

import os
import time
from typing import Any

import polars as pl

from engine.scoring.forecaster import ForecasterSpec
from engine.scoring.plan import Shard
from engine.scoring.price_array import PriceArray

__all__ = ["ScoringActor"]


class ScoringActor:
    """Holds a forecaster and the shared price array; scores one shard at a time.

    Turned into a Ray actor by the driver. Torch's thread count equals the slot's cores, because
    two actors that each take every core run slower than one.
    """

    def __init__(
        self, spec: ForecasterSpec, prices: PriceArray, lookback: int, threads: int
    ) -> None:
        self._forecaster = spec.build(threads)
        self._prices = prices
        self._lookback = lookback
        self._windows = 0
        self._seconds = 0.0

    def health(self) -> dict[str, Any]:
        """Process id, windows scored and windows per second; answers once the model is loaded."""
        rate = self._windows / self._seconds if self._seconds else None
        return {"pid": os.getpid(), "windows": self._windows, "windows_per_s": rate}

    def score(self, shard: Shard) -> pl.DataFrame:
        """Per-step statistics of every window of the shard that has a finite forecast."""
        started = time.perf_counter()
        frame = self._forecaster.score(
            shard.panel(self._prices, self._lookback), shard.asof(self._prices)
        )
        self._windows += len(shard)
        self._seconds += time.perf_counter() - started
        return frame

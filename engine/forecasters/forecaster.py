"""The door to any model: windows of bars in, per-step forecast statistics out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl

__all__ = ["Forecaster", "ForecasterSpec", "WindowPanel"]


@dataclass(frozen=True)
class WindowPanel:
    """n windows of equal length, each ending at its own asof.

    Attributes
    ----------
    tickers
        N names.
    values
        float32 [n, lookback, 6]: open, high, low, close, volume, amount, adjusted as of the
        window's last bar.
    stamps
        datetime64[D] [n, lookback], sessions of the bars.
    future
        datetime64[D] [n, steps], the calendar's next sessions.
    seeds
        uint64 [n], the source of each window's randomness.
    """

    tickers: tuple[str, ...]
    values: np.ndarray
    stamps: np.ndarray
    future: np.ndarray
    seeds: np.ndarray

    def __len__(self) -> int:
        return len(self.tickers)

    def take(self, rows: np.ndarray) -> WindowPanel:
        """The panel of some of its windows."""
        return WindowPanel(
            tickers=tuple(self.tickers[i] for i in rows),
            values=self.values[rows],
            stamps=self.stamps[rows],
            future=self.future[rows],
            seeds=self.seeds[rows],
        )


class Forecaster(Protocol):
    """Scores windows. A window's numbers depend on nothing but the window and its seed.

    A model that is fitted across tickers, fold by fold, cannot promise that: LightGBM comes
    through `engine.baselines` into the same table of scores.
    """

    def score(self, panel: WindowPanel, asof: np.ndarray) -> pl.DataFrame:
        """One row per (asof, ticker, step) with `statistics.STATISTICS` and `statistics.LEVELS`.

        `asof` is datetime64[D] [n], the decision date of each window. A window without a finite
        forecast is left out; the caller quarantines it.
        """
        ...


class ForecasterSpec(Protocol):
    """What the driver sends to actors: how to build the forecaster, and what identifies it."""

    def identity(self) -> dict[str, Any]:
        """Everything of the model and its settings that changes a forecast; JSON-ready."""
        ...

    def nested_steps(self, lookback: int) -> int | None:
        """The longest generation whose first steps have the bits of a shorter one; None: any."""
        ...

    def build(self, threads: int) -> Forecaster:
        """Load the model onto its device; runs inside the actor."""
        ...

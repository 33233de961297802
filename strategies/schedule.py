"""Schedule: on which of the rebalance dates the book is changed. Between them it drifts."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from .checks import whole

__all__ = ["Every", "Once"]


@dataclass(frozen=True)
class Every:
    """Each ``n``-th rebalance date, counted from the first in the frame."""

    n: int = 1

    def __post_init__(self) -> None:
        whole("schedule.n", self.n, unit=" of rebalances")

    @property
    def path_dependent(self) -> bool:
        """Whether it matters where counting began."""
        return self.n > 1

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self.n == 1:
            return frame
        return frame.filter((pl.col("asof").rank("dense").cast(pl.Int64) - 1) % self.n == 0)


@dataclass(frozen=True)
class Once:
    """The first date only: bought and held."""

    @property
    def path_dependent(self) -> bool:
        """The first date matters."""
        return True

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.filter(pl.col("asof") == pl.col("asof").min())

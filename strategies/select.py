"""Select: which names a book holds, and on which side.

Each step takes ranked candidates and adds ``side``: +1 long, −1 short, 0 not held. A date whose
scores are all equal, or with fewer than two names, selects nothing where an order is needed:
without one there is no long and no short side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .checks import at_least, fraction, whole

__all__ = ["Everyone", "SignOfScore", "Tails", "TopK", "TopKDropout"]

# n · quantile in binary floating point can fall just short of a whole number (100 · 0.29).
_ROUNDING = 1e-9
Sides = NDArray[np.int8]


@dataclass(frozen=True)
class Tails:
    """Long the top, short the bottom ⌊n · quantile⌋ names, at least one a side.

    With a ``buffer`` a held name stays while it is among the best (worst) (1 + buffer) · size, and
    only free places are filled with the best ranked: rank hysteresis, which lowers turnover and
    costs some of the score's edge.
    """

    quantile: float = 0.2
    buffer: float = 0.0

    def __post_init__(self) -> None:
        why = ", so that the long and short legs do not overlap"
        fraction("quantile", self.quantile, below=0.5, why=why)
        at_least("buffer", self.buffer, 0)
        if self.quantile * (1 + self.buffer) > 0.5 + _ROUNDING:
            raise ValueError(
                f"strategy.buffer: {self.buffer!r} lets the legs overlap; quantile · (1 + buffer) "
                "must be at most 0.5"
            )

    @property
    def path_dependent(self) -> bool:
        """Whether what was held before matters."""
        return self.buffer > 0

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        size = (pl.col("n") * self.quantile + _ROUNDING).floor().cast(pl.Int64).clip(lower_bound=1)
        if not self.buffer:
            empty = pl.col("constant") | (pl.col("n") < 2)
            side = (
                pl.when(empty)
                .then(0)
                .when(pl.col("rank") <= size)
                .then(1)
                .when(pl.col("rank") > pl.col("n") - size)
                .then(-1)
                .otherwise(0)
            )
            return frame.with_columns(side=side.cast(pl.Int8))
        return _with_sides(frame.with_columns(size=size), self._buffered(frame, size))

    def _buffered(self, frame: pl.DataFrame, size: pl.Expr) -> Iterator[Sides]:
        longs: set[str] = set()
        shorts: set[str] = set()
        for day in _days(frame.with_columns(size=size)):
            k = int(day["size"][0])
            if day["constant"][0] or day.height < 2:
                longs, shorts = set(), set()
            else:
                stay = int(k * (1 + self.buffer) + _ROUNDING)
                ascending = day.sort("rank")["ticker"].to_list()
                longs = _with_hysteresis(ascending, longs, k, stay)
                rest = [name for name in reversed(ascending) if name not in longs]
                shorts = _with_hysteresis(rest, shorts, min(k, len(rest)), stay)
            yield _sides(day, longs, shorts)


@dataclass(frozen=True)
class TopK:
    """Long the best ``k`` names, with rank hysteresis like :class:`Tails`."""

    k: int = 10
    buffer: float = 0.0

    def __post_init__(self) -> None:
        whole("k", self.k, unit=" of names")
        at_least("buffer", self.buffer, 0)

    @property
    def path_dependent(self) -> bool:
        """Whether what was held before matters."""
        return self.buffer > 0

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        return _with_sides(frame, self._sides(frame))

    def _sides(self, frame: pl.DataFrame) -> Iterator[Sides]:
        held: set[str] = set()
        for day in _days(frame):
            names = day.sort("rank")["ticker"].to_list()
            stay = int(self.k * (1 + self.buffer) + _ROUNDING)
            held = set() if day["constant"][0] else _with_hysteresis(names, held, self.k, stay)
            yield _sides(day, held, set())


@dataclass(frozen=True)
class TopKDropout:
    """Long ``k`` names of which at most ``drop`` are exchanged at a rebalance.

    Held names and the best ``drop`` candidates compete; held names among the ``drop`` worst of
    them leave, unless they have been held for fewer than ``min_hold`` rebalances, and the best
    candidates take their places (the rule known from Qlib's TopkDropoutStrategy). A held name that
    is no longer scored leaves at once.
    """

    k: int = 10
    drop: int = 2
    min_hold: int = 1

    def __post_init__(self) -> None:
        whole("k", self.k, unit=" of names")
        whole("drop", self.drop, unit=" of names")
        whole("min_hold", self.min_hold, unit=" of rebalances")
        if self.drop > self.k:
            raise ValueError(f"strategy.drop: {self.drop} must be at most strategy.k ({self.k})")

    @property
    def path_dependent(self) -> bool:
        """What was held before, and how long, matters."""
        return True

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        return _with_sides(frame, self._sides(frame))

    def _sides(self, frame: pl.DataFrame) -> Iterator[Sides]:
        age: dict[str, int] = {}
        for day in _days(frame):
            order = day.sort("rank")["ticker"].to_list()
            if day["constant"][0]:
                age = {}
            else:
                age = self._exchange(order, {name: age[name] for name in order if name in age})
            yield _sides(day, set(age), set())

    def _exchange(self, order: list[str], age: dict[str, int]) -> dict[str, int]:
        """Held names with their ages after the rebalance; ``order`` is best first."""
        free = self.k - len(age)
        fresh = [name for name in order if name not in age][: self.drop + free]
        contest = [name for name in order if name in age or name in fresh]
        worst = contest[-self.drop :]
        leaving = [name for name in worst if name in age and age[name] >= self.min_hold]
        joining = fresh[: len(leaving) + free]
        kept = {name: years + 1 for name, years in age.items() if name not in leaving}
        return kept | dict.fromkeys(joining, 1)


@dataclass(frozen=True)
class SignOfScore:
    """Long what is above, short what is below the date's reference; at the reference not held.

    ``reference`` is ``mean`` or ``median`` (the cross-section's) or ``zero`` (the forecast's own
    sign).
    """

    reference: str = "mean"

    def __post_init__(self) -> None:
        if self.reference not in ("mean", "median", "zero"):
            raise ValueError(f"strategy.reference: {self.reference!r} must be mean, median or zero")

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        side = _centred(self.reference).sign()
        # The mean of equal numbers may miss them by a rounding; then there is no side to take.
        if self.reference != "zero":
            side = pl.when("constant").then(0.0).otherwise(side)
        return frame.with_columns(side=side.cast(pl.Int8))


@dataclass(frozen=True)
class Everyone:
    """Long every scored name."""

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(side=pl.lit(1, dtype=pl.Int8))


def _centred(reference: str) -> pl.Expr:
    score = pl.col("score")
    if reference == "zero":
        return score
    centre = score.mean() if reference == "mean" else score.median()
    return score - centre.over("asof")


def _with_hysteresis(order: list[str], held: set[str], size: int, stay: int) -> set[str]:
    """``size`` names: those held and still among the first ``stay`` of ``order``, then the best."""
    kept = [name for name in order[:stay] if name in held][:size]
    chosen = set(kept)
    for name in order:
        if len(chosen) >= size:
            break
        chosen.add(name)
    return chosen


def _days(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """One frame a date, in order. The frame is sorted by asof."""
    yield from frame.partition_by("asof", maintain_order=True)


def _sides(day: pl.DataFrame, longs: set[str], shorts: set[str]) -> Sides:
    names = day["ticker"].to_list()
    return np.array([(name in longs) - (name in shorts) for name in names], dtype=np.int8)


def _with_sides(frame: pl.DataFrame, sides: Iterator[Sides]) -> pl.DataFrame:
    found = list(sides)
    column = np.concatenate(found) if found else np.empty(0, dtype=np.int8)
    return frame.with_columns(side=pl.Series(column, dtype=pl.Int8))

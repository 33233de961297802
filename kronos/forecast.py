"""The result of a forecast. Bars that cannot be are counted always and mended on request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
import pandas as pd

from kronos.bars import COLUMNS, PRICE_COLUMNS

__all__ = [
    "Forecast",
    "ForecastOptions",
    "PathStatistics",
    "Sanity",
    "count_impossible",
    "repair_bars",
]

OPEN, HIGH, LOW, CLOSE = (COLUMNS.index(name) for name in PRICE_COLUMNS)
PRICES = slice(0, len(PRICE_COLUMNS))
SIZES = slice(len(PRICE_COLUMNS), len(COLUMNS))


class ForecastOptions(TypedDict, total=False):
    """How :meth:`kronos.KronosPredictor.forecast` works, where it shall not be as by default.

    Attributes
    ----------
    batch_rows : int or None
        Run every forward on exactly this many rows (rows = windows · paths), filled with
        copies. With seeds, or greedy, a window's result then has the same bits whichever
        windows stand beside it, and however many paths are asked for. None chooses by memory.
    cache : bool
        True unless told. False recomputes the whole window at every step, the slow oracle.
    repair : bool
        Mend impossible bars, see :func:`kronos.forecast.repair_bars`; not in "exact".
    jump_sigmas : float
        10 unless told: how far a first step must jump to be counted, see :class:`kronos.Sanity`.
    keep_paths : bool
        False keeps mean, ``quantiles`` and p_up of the paths only.
    quantiles : sequence of float
        Those that are kept; 0.05, 0.5 and 0.95 unless told.
    names : sequence of str or None
        One a window, for error messages.
    on_step : callable or None
        Called with the number of steps done.
    """

    batch_rows: int | None
    cache: bool
    repair: bool
    jump_sigmas: float
    keep_paths: bool
    quantiles: Sequence[float]
    names: Sequence[str] | None
    on_step: Callable[[int], None] | None


@dataclass(frozen=True, eq=False)
class PathStatistics:
    """What is kept of the paths when they are not.

    Attributes
    ----------
    mean : float32 [windows, steps, 6]
    quantiles : q → float32 [windows, steps, 6]
    p_up : float64 [windows, steps]
        Share of paths whose close is above the last.
    n_paths
        How many paths there were.
    """

    mean: np.ndarray
    quantiles: dict[float, np.ndarray]
    p_up: np.ndarray
    n_paths: int


@dataclass(frozen=True, eq=False)
class Sanity:
    """Counts a window, int64 [windows], over all its paths and steps, before any repair.

    Attributes
    ----------
    non_finite
        Bars with a value that is not finite.
    negative_volume
        Bars with volume or amount below 0.
    high_below_low
        Bars whose high is below the low.
    first_step_jump
        Paths whose first close is further from the last known close than ``jump_sigmas`` standard
        deviations of the window's close-to-close changes.
    """

    non_finite: np.ndarray
    negative_volume: np.ndarray
    high_below_low: np.ndarray
    first_step_jump: np.ndarray

    def totals(self) -> dict[str, int]:
        """Sums over windows."""
        return {name: int(counts.sum()) for name, counts in vars(self).items()}


@dataclass(frozen=True, eq=False)
class Forecast:
    """Sampled future bars of a batch of windows, in price units.

    Attributes
    ----------
    paths : float32 [windows, n_paths, steps, 6]
        Columns open, high, low, close, volume, amount; None when only statistics were kept.
    last_close : float32 [windows]
        The close of each window's last bar.
    names
        One a window.
    timestamps : datetime64 [windows, steps]
        Of the bars; None when calendar features were given.
    sanity
        Impossible bars that were generated, counted a window.
    batch_rows
        Rows of a decode step (the largest, if they differed).
    statistics
        In place of ``paths``.
    """

    paths: np.ndarray | None
    last_close: np.ndarray
    names: tuple[str, ...] = ()
    timestamps: np.ndarray | None = None
    sanity: Sanity | None = None
    batch_rows: int = 0
    statistics: PathStatistics | None = None

    @property
    def _paths(self) -> np.ndarray:
        if self.paths is None:
            raise ValueError("this forecast kept statistics only; forecast with keep_paths=True")
        return self.paths

    @property
    def n_paths(self) -> int:
        return self.statistics.n_paths if self.statistics else self._paths.shape[1]

    @property
    def steps(self) -> int:
        return self.statistics.mean.shape[1] if self.statistics else self._paths.shape[2]

    @property
    def mean(self) -> np.ndarray:
        """Mean over paths: float32 [windows, steps, 6]."""
        if self.statistics is not None:
            return self.statistics.mean
        return self._paths.mean(axis=1, dtype=np.float64).astype(np.float32)

    @property
    def close(self) -> np.ndarray:
        """Closes of all paths: float32 [windows, n_paths, steps]."""
        return self._paths[..., CLOSE]

    def quantile(self, q: float) -> np.ndarray:
        """Quantile ``q`` over paths, linear between order statistics: [windows, steps, 6]."""
        if not 0 <= q <= 1:
            raise ValueError(f"q is {q}; a quantile lies in [0, 1]")
        if self.statistics is not None:
            if q not in self.statistics.quantiles:
                kept = ", ".join(map(str, self.statistics.quantiles))
                raise ValueError(f"q is {q}; this forecast kept the quantiles {kept} only")
            return self.statistics.quantiles[q]
        return np.quantile(self._paths, q, axis=1).astype(np.float32)

    def p_up(self, step: int) -> np.ndarray:
        """Share of paths [windows] whose close ``step`` bars ahead (from 1) is above the last."""
        if not 1 <= step <= self.steps:
            raise ValueError(f"step is {step}; this forecast has steps 1..{self.steps}")
        if self.statistics is not None:
            return self.statistics.p_up[:, step - 1]
        return (self.close[:, :, step - 1] > self.last_close[:, None]).mean(axis=1)

    def summary(self, quantiles: Sequence[float] = (0.05, 0.5, 0.95)) -> Forecast:
        """The same forecast with :class:`PathStatistics` in place of its paths."""
        if self.paths is None:
            return self
        statistics = PathStatistics(
            self.mean,
            {q: self.quantile(q) for q in quantiles},
            (self.close > self.last_close[:, None, None]).mean(axis=1),
            self.n_paths,
        )
        return replace(self, paths=None, statistics=statistics)

    def to_pandas(self) -> pd.DataFrame:
        """Mean bars, one row a window and step.

        Index (name, timestamp), or (name, step from 1) without timestamps; columns open, high,
        low, close, volume, amount and p_up.
        """
        windows = len(self.last_close)
        when = np.tile(np.arange(1, self.steps + 1), windows)
        if self.timestamps is not None:
            when = self.timestamps.reshape(-1)
        index = pd.MultiIndex.from_arrays(
            [np.repeat(np.array(self.names, dtype=object), self.steps), when],
            names=["name", "step" if self.timestamps is None else "timestamp"],
        )
        frame = pd.DataFrame(
            self.mean.reshape(-1, len(COLUMNS)), columns=list(COLUMNS), index=index
        )
        up = [self.p_up(step) for step in range(1, self.steps + 1)]
        frame["p_up"] = np.stack(up, axis=1).reshape(-1)
        return frame


def merge(parts: Sequence[tuple[Forecast, list[int]]]) -> Forecast:
    """One forecast from those of disjoint sets of windows, each with its windows' numbers."""
    forecasts = [forecast for forecast, _ in parts]
    back = np.argsort(np.concatenate([members for _, members in parts]))

    def joined(arrays: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(arrays)[back]

    stamps = [f.timestamps for f in forecasts if f.timestamps is not None]
    names = [name for forecast in forecasts for name in forecast.names]
    return Forecast(
        joined([forecast._paths for forecast in forecasts]),
        joined([forecast.last_close for forecast in forecasts]),
        tuple(names[i] for i in back),
        joined(stamps) if len(stamps) == len(forecasts) else None,
        Sanity(
            *(
                joined([getattr(forecast.sanity, name) for forecast in forecasts])
                for name in vars(forecasts[0].sanity)
            )
        ),
        max(forecast.batch_rows for forecast in forecasts),
    )


def count_impossible(
    paths: np.ndarray, last_close: np.ndarray, change_std: np.ndarray, *, jump_sigmas: float
) -> Sanity:
    """:class:`Sanity` of ``paths`` [windows, n_paths, steps, 6].

    ``last_close`` and ``change_std`` [windows] are of the context's closes and of their changes.
    """
    with np.errstate(invalid="ignore"):
        jump = np.abs(paths[:, :, 0, CLOSE] - last_close[:, None])
        return Sanity(
            (~np.isfinite(paths).all(axis=-1)).sum(axis=(1, 2)),
            (paths[..., SIZES] < 0).any(axis=-1).sum(axis=(1, 2)),
            (paths[..., HIGH] < paths[..., LOW]).sum(axis=(1, 2)),
            (jump > jump_sigmas * change_std[:, None]).sum(axis=1),
        )


def repair_bars(paths: np.ndarray, last_close: np.ndarray) -> np.ndarray:
    """A copy of ``paths`` [windows, n_paths, steps, 6] without impossible bars.

    In this order: a bar with a value that is not finite becomes a flat bar at the close before it,
    without volume; negative volume and amount become 0; high and low become the highest and the
    lowest of the four prices. Open and close of a finite bar, and first-step jumps, are left alone.
    """
    mended = paths.copy()
    before = np.broadcast_to(last_close[:, None], mended.shape[:2])
    for step in range(mended.shape[2]):
        bar = mended[:, :, step]
        broken = ~np.isfinite(bar).all(axis=-1, keepdims=True)
        flat = np.zeros_like(bar)
        flat[..., PRICES] = before[..., None]
        bar[...] = np.where(broken, flat, bar)
        before = bar[..., CLOSE]
    mended[..., SIZES] = np.maximum(mended[..., SIZES], 0)
    prices = mended[..., PRICES]
    high, low = prices.max(axis=-1), prices.min(axis=-1)
    mended[..., HIGH], mended[..., LOW] = high, low
    return mended

"""Decay of the RankIC inside folds: descriptive, no gate looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from backtest.statistics.significance import CONFIDENCE, session_spacing

__all__ = ["decay_table"]

Floats = NDArray[np.float64]

# The definition itself (DESIGN: "IC decay"), not settings of a run.
_MIN_DATES = 9
_RAPID = -0.05
_NOISY = 2.0
_WEEK = 5


def decay_table(judged: pl.DataFrame, *, sessions: Sequence[date]) -> list[dict[str, Any]]:
    """Median of the last third − median of the first third of each fold's RankICs.

    Takes asof, horizon, rank_ic of judged dates, sorted by date. A fold is a calendar month, or a
    calendar year when dates are rarer than weekly; folds with fewer than nine dates are left out.
    Rows hold fold, horizon, n_dates, first, last, difference, noise and flags: RAPID (difference
    below −0.05) and NOISY (interquartile range over |median| above 2).

    ``noise`` is the size that noise alone would show: the 95th percentile of |difference| over all
    stretches of as many consecutive dates of the same horizon, wherever they begin (the series is
    closed to a ring). It keeps the series' own dependence.
    """
    rows: list[dict[str, Any]] = []
    for (horizon,), part in judged.group_by("horizon", maintain_order=True):
        values = part["rank_ic"].to_numpy()
        rare = session_spacing(part["asof"], sessions) > _WEEK
        names = part["asof"].dt.strftime("%Y" if rare else "%Y-%m").to_numpy()
        noise: dict[int, float] = {}
        for fold in np.unique(names):
            inside = values[names == fold]
            n = len(inside)
            if n < _MIN_DATES:
                continue
            if n not in noise:
                noise[n] = _noise(values, n)
            rows.append({"fold": str(fold), "horizon": horizon, **_row(inside, noise[n])})
    return rows


def _row(values: Floats, noise: float) -> dict[str, Any]:
    third = len(values) // 3
    first, last = float(np.median(values[:third])), float(np.median(values[-third:]))
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    noisy = high - low > _NOISY * abs(middle)
    flags = [name for name, on in (("RAPID", last - first < _RAPID), ("NOISY", noisy)) if on]
    return {
        "n_dates": len(values),
        "first": first,
        "last": last,
        "difference": last - first,
        "noise": noise,
        "flags": flags,
    }


def _noise(values: Floats, n: int) -> float:
    ring = np.concatenate([values, values[: n - 1]])
    stretches = np.lib.stride_tricks.sliding_window_view(ring, n)
    third = n // 3
    differences = np.median(stretches[:, -third:], axis=1) - np.median(stretches[:, :third], axis=1)
    return float(np.quantile(np.abs(differences), CONFIDENCE))

"""The same finding on parts of the dates: by regime, inside folds, from later starts.

1. ``regime_table``: RankIC by market regime, which gate 3 looks at
2. ``decay_table``: does RankIC fall from the beginning of a fold to its end?
3. ``start_sensitivity``: would the finding be another one had the judging begun later?
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .performance import sharpe
from .significance import CONFIDENCE, series_interval, session_spacing

__all__ = ["decay_table", "regime_table", "start_sensitivity"]

Floats = NDArray[np.float64]

_REGIMES = {"volatility": ("low", "mid", "high"), "trend": ("bull", "bear")}
# The definition itself (DESIGN: "IC decay"), not settings of a run.
_MIN_FOLD_DATES = 9
_RAPID = -0.05
_NOISY = 2.0
_WEEK = 5
_SKIPPED_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
_MIN_START_DATES = 3


def regime_table(
    panel: pl.DataFrame,
    ic: pl.DataFrame,
    *,
    sessions: Sequence[date],
    min_dates: int,
    min_names: int,
) -> list[dict[str, Any]]:
    """One row per kind, regime and horizon that has judged dates.

    Takes the panel's asof, volatility_regime, trend_regime and the frame of RankICs. Rows hold
    kind, regime, horizon, n_dates, n_names_median, rank_ic_mean, ci95 and ``thin``: fewer than
    ``min_dates`` dates or ``min_names`` names, shown and not judged. Dates whose regime is null
    (history too short) are in no slice.
    """
    judged = ic.filter(pl.col("rank_ic").is_not_null()).select("asof", "horizon", "n", "rank_ic")
    columns = [f"{kind}_regime" for kind in _REGIMES]
    labelled = judged.join(panel.select("asof", *columns).unique("asof"), on="asof", how="left")
    slices = [(kind, regime) for kind, regimes in _REGIMES.items() for regime in regimes]
    rows = []
    for (kind, regime), horizon in product(slices, labelled["horizon"].unique().sort().to_list()):
        inside = (pl.col(f"{kind}_regime") == regime) & (pl.col("horizon") == horizon)
        part = labelled.filter(inside).sort("asof")
        if not part.height:
            continue
        found = series_interval(part, "rank_ic", horizon=horizon, sessions=sessions)
        names = float(np.median(part["n"].to_numpy()))
        rows.append(
            {
                "kind": kind,
                "regime": regime,
                "horizon": horizon,
                "n_dates": part.height,
                "n_names_median": names,
                "rank_ic_mean": found.mean,
                "ci95": found.bounds,
                "thin": part.height < min_dates or names < min_names,
            }
        )
    return rows


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
            if n < _MIN_FOLD_DATES:
                continue
            if n not in noise:
                noise[n] = _noise(values, n)
            rows.append({"fold": str(fold), "horizon": horizon, **_thirds(inside, noise[n])})
    return rows


def _thirds(values: Floats, noise: float) -> dict[str, Any]:
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


def start_sensitivity(
    judged: pl.DataFrame,
    excess: pl.DataFrame,
    returns: pl.DataFrame,
    *,
    sessions: Sequence[date],
    periods_per_year: int,
) -> list[dict[str, Any]]:
    """Mean RankIC, mean net excess and Sharpe from later and later starts.

    Takes asof, horizon, rank_ic; asof, horizon, net_excess; date, net. The first 0, 10, … 50 % of
    the judged dates are left out in turn. Rows hold start, horizon, n_dates, rank_ic_mean, ci95,
    net_excess_mean and sharpe_net (of the portfolio's sessions after the start, whatever the
    horizon); starts that leave fewer than three dates are left out.
    """
    dates = judged["asof"].unique().sort()
    starts = [dates[int(share * dates.len())] for share in _SKIPPED_SHARES if dates.len()]
    horizons = judged["horizon"].unique(maintain_order=True).to_list()
    rows = []
    for start, horizon in product(starts, horizons):
        kept = (pl.col("asof") >= start) & (pl.col("horizon") == horizon)
        part = judged.filter(kept).sort("asof")
        if part.height < _MIN_START_DATES:
            continue
        found = series_interval(part, "rank_ic", horizon=horizon, sessions=sessions)
        traded = returns.filter(pl.col("date") > start)["net"]
        rows.append(
            {
                "start": start,
                "horizon": horizon,
                "n_dates": part.height,
                "rank_ic_mean": found.mean,
                "ci95": found.bounds,
                "net_excess_mean": excess.filter(kept)["net_excess"].mean(),
                "sharpe_net": sharpe(traded, periods_per_year=periods_per_year),
            }
        )
    return rows

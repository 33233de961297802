"""Predicted paths to the statistics that scores and predicted levels are read from.

Statistics are kept for every step and both score forms, so that any horizon up to the generated
length, and either form, is read from a finished shard and never scored again.
"""

from __future__ import annotations

import numpy as np
import polars as pl

__all__ = ["FORMS", "LEVELS", "SCHEMA_VERSION", "STATISTICS", "step_statistics"]

FORMS = ("terminal", "path_mean")
MEASURES = ("score", "score_std", "p_up", "q05", "q50", "q95")
STATISTICS = tuple(f"{form}_{measure}" for form in FORMS for measure in MEASURES)
LEVELS = ("predicted_open", "predicted_high", "predicted_low")
# Of the columns of a shard. Part of the fingerprint: shards of other columns are not mixed.
SCHEMA_VERSION = 2


def step_statistics(
    tickers: tuple[str, ...],
    asof: np.ndarray,
    last_close: np.ndarray,
    closes: np.ndarray,
    levels: np.ndarray | None = None,
) -> pl.DataFrame:
    """Long frame: asof, ticker, step (1-based), last_close, n_paths, `STATISTICS` and `LEVELS`.

    Parameters
    ----------
    tickers
        N names.
    asof
        datetime64[D] [n].
    last_close
        Float [n], close of each window's last bar.
    closes
        Float [n, paths, steps], predicted closes in the same money.
    levels
        Float [n, paths, steps, 3], predicted open, high and low; None for a forecaster that
        predicts closes only, whose `LEVELS` are null.

    Returns of step k are closes[k]/last − 1 (terminal) and mean(closes[1..k])/last − 1
    (path_mean). The score is their mean over paths, and so is each level, in money. Dispersion
    over one path is null. Windows with a non-finite close are left out.
    """
    _, paths, steps = closes.shape
    finite = np.isfinite(closes).all(axis=(1, 2)) & np.isfinite(last_close) & (last_close > 0)
    kept = np.flatnonzero(finite)
    # Paths last and contiguous: the order of every sum then depends on the number of paths
    # only, never on how many windows share the call.
    last = last_close[kept].astype(np.float64)[:, None, None]
    values = np.ascontiguousarray(closes[kept].astype(np.float64).transpose(0, 2, 1))
    running = np.cumsum(values, axis=1) / np.arange(1, steps + 1)[None, :, None]
    columns: dict[str, np.ndarray | pl.Series] = {
        "asof": np.repeat(asof[kept], steps),
        "ticker": pl.Series([tickers[i] for i in kept for _ in range(steps)], dtype=pl.String),
        "step": np.tile(np.arange(1, steps + 1, dtype=np.int32), len(kept)),
        "last_close": np.repeat(last_close[kept].astype(np.float64), steps),
        "n_paths": np.full(len(kept) * steps, paths, dtype=np.int32),
    }
    for form, prices in zip(FORMS, (values, running), strict=True):
        returns = np.ascontiguousarray(prices / last - 1.0)
        columns |= _measures(form, returns.reshape(-1, paths))
    columns |= _mean_levels(None if levels is None else levels[kept], len(kept) * steps)
    return pl.DataFrame(columns).with_columns(pl.col("asof").cast(pl.Date))


def _mean_levels(levels: np.ndarray | None, rows: int) -> dict[str, pl.Series]:
    if levels is None:
        return {name: pl.Series([None] * rows, dtype=pl.Float64) for name in LEVELS}
    values = np.ascontiguousarray(levels.astype(np.float64).transpose(0, 2, 3, 1))
    means = values.mean(axis=3).reshape(-1, len(LEVELS))
    return {name: pl.Series(means[:, i]).fill_nan(None) for i, name in enumerate(LEVELS)}


def _measures(form: str, returns: np.ndarray) -> dict[str, np.ndarray | pl.Series]:
    rows, paths = returns.shape
    measured: dict[str, np.ndarray | pl.Series] = {f"{form}_score": returns.mean(axis=1)}
    if paths == 1 or rows == 0:
        empty = pl.Series([None] * rows, dtype=pl.Float64)
        return measured | {f"{form}_{name}": empty for name in MEASURES[1:]}
    q05, q50, q95 = np.quantile(returns, [0.05, 0.5, 0.95], axis=1)
    return measured | {
        f"{form}_score_std": returns.std(axis=1, ddof=1),
        f"{form}_p_up": (returns > 0).mean(axis=1),
        f"{form}_q05": q05,
        f"{form}_q50": q50,
        f"{form}_q95": q95,
    }

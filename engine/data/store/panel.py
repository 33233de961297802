"""Windows of many tickers at many dates, as one block of numbers for scoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from engine.errors import UsageError

__all__ = ["COLUMNS", "Panel", "build_panel"]

COLUMNS = ("open", "high", "low", "close", "volume", "amount")


@dataclass(frozen=True)
class Panel:
    """Windows by (asof, ticker), on the exchange's sessions.

    Attributes
    ----------
    asofs
        A dates, as asked for.
    tickers
        N names, sorted or as asked for.
    sessions
        datetime64[D] [A, L]: the last L sessions at or before each asof.
    values
        float32 [A, N, L, 6], columns as in `COLUMNS`; prices in the money of the window's last
        bar, volume in its shares. NaN where there is no bar.
    mask
        bool [A, N, L]: whether there is a bar.
    """

    asofs: tuple[date, ...]
    tickers: tuple[str, ...]
    sessions: np.ndarray
    values: np.ndarray
    mask: np.ndarray


def build_panel(
    bars: pl.DataFrame,
    sessions: Sequence[date],
    asofs: Sequence[date],
    lookback: int,
    tickers: Sequence[str] | None = None,
) -> Panel:
    """The panel of `bars`: ticker, date, `COLUMNS`, adj_factor, one row a (ticker, date).

    `sessions` are consecutive and reach from the first session of the first window to the last
    asof. Nothing after an asof enters its windows.

    Raises
    ------
    UsageError
        An asof is no session.
    """
    days = np.array(sessions, dtype="datetime64[D]")
    ends = np.searchsorted(days, np.array(asofs, dtype="datetime64[D]"))
    for asof, end in zip(asofs, ends, strict=True):
        if end == len(days) or days[end].item() != asof:
            raise UsageError(f"{asof} is not a session")
    names = sorted(bars["ticker"].unique()) if tickers is None else list(tickers)
    exact, factor = _grid(bars, days, names)
    moving = np.flatnonzero((factor != factor[:, :1]).any(axis=1))
    grid, exact = exact.astype(np.float32), exact[moving]
    held = ~np.isnan(grid[..., 3])
    shape = (len(asofs), len(names), lookback)
    values = np.empty((*shape, len(COLUMNS)), dtype=np.float32)
    mask = np.empty(shape, dtype=bool)
    for at, end in enumerate(ends):
        part = slice(end - lookback + 1, end + 1)
        values[at] = grid[:, part]
        mask[at] = held[:, part]
        values[at, moving] = _adjusted(exact[:, part], factor[moving, part])
    windows = np.stack([days[end - lookback + 1 : end + 1] for end in ends])
    return Panel(tuple(asofs), tuple(names), windows, values, mask)


def _grid(bars: pl.DataFrame, days: np.ndarray, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """float64 [N, sessions, 6], NaN where there is no bar, and the factors [N, sessions].

    A session without a bar keeps the factor of the bar before it (before the first bar: 1).
    """
    known = pl.DataFrame({"ticker": names, "_row": np.arange(len(names), dtype=np.int64)})
    first = days[0].item()
    placed = bars.join(known, on="ticker").filter(pl.col("date").is_between(first, days[-1].item()))
    column = np.full((days[-1] - days[0]).astype(int) + 1, -1, dtype=np.int64)
    column[(days - days[0]).astype(int)] = np.arange(len(days))
    at = column[(placed["date"] - first).dt.total_days().to_numpy()]
    inside = at >= 0
    flat = placed["_row"].to_numpy()[inside] * len(days) + at[inside]
    grid = np.full((len(names) * len(days), len(COLUMNS)), np.nan)
    for index, name in enumerate(COLUMNS):
        grid[flat, index] = placed[name].to_numpy()[inside]
    factor = np.full(len(names) * len(days), np.nan)
    factor[flat] = placed["adj_factor"].to_numpy()[inside]
    return grid.reshape(len(names), len(days), -1), _filled(factor.reshape(len(names), len(days)))


def _filled(factor: np.ndarray) -> np.ndarray:
    """The last factor known at each session; rows without a change are the common case."""
    known = ~np.isnan(factor)
    last = np.maximum.accumulate(np.where(known, np.arange(factor.shape[1]), -1), axis=1)
    filled = np.take_along_axis(factor, np.maximum(last, 0), axis=1)
    return np.where(last < 0, 1.0, filled)


def _adjusted(values: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Windows [N, L, 6] in the money of their last session."""
    ratio = factor / factor[:, -1:]
    values = values.copy()
    values[..., :4] *= ratio[..., None]
    values[..., 4] /= ratio
    return values

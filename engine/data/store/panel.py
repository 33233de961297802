"""Windows of many tickers at many dates, as one block of numbers for scoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from engine.errors import UsageError

__all__ = ["COLUMNS", "Panel", "PriceGrid"]

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


@dataclass(frozen=True)
class PriceGrid:
    """Bars on consecutive sessions; panels of dates within them are cut from it.

    Attributes
    ----------
    days
        datetime64[D] [S].
    tickers
        N names.
    values
        float32 [N, S, 6] as recorded, NaN where there is no bar.
    held
        bool [N, S]: whether there is a bar.
    moving, exact, factor
        Rows of the tickers whose factor changes, and their values [M, S, 6] and factors [M, S] in
        float64; a session without a bar has the factor of the bar before it.
    """

    days: np.ndarray
    tickers: tuple[str, ...]
    values: np.ndarray
    held: np.ndarray
    moving: np.ndarray
    exact: np.ndarray
    factor: np.ndarray

    @classmethod
    def from_bars(
        cls, bars: pl.DataFrame, sessions: Sequence[date], tickers: Sequence[str] | None = None
    ) -> PriceGrid:
        """The grid of `bars`: ticker, date, `COLUMNS`, adj_factor, one row a (ticker, date)."""
        days = np.array(sessions, dtype="datetime64[D]")
        names = sorted(bars["ticker"].unique()) if tickers is None else list(tickers)
        exact, factor = _placed(bars, days, names)
        moving = np.flatnonzero((factor != factor[:, :1]).any(axis=1))
        return cls(
            days=days,
            tickers=tuple(names),
            values=exact.astype(np.float32),
            held=~np.isnan(exact[..., 3]),
            moving=moving,
            exact=exact[moving],
            factor=factor[moving],
        )

    def panel(self, asofs: Sequence[date], lookback: int) -> Panel:
        """Windows of `lookback` sessions up to each asof. Nothing after an asof enters its own.

        Raises
        ------
        UsageError
            An asof is no session of the grid, or has fewer than `lookback` up to it.
        """
        ends = np.searchsorted(self.days, np.array(asofs, dtype="datetime64[D]"))
        for asof, end in zip(asofs, ends, strict=True):
            if end == len(self.days) or self.days[end].item() != asof:
                raise UsageError(f"{asof} is not a session")
            if end + 1 < lookback:
                raise UsageError(f"{asof} has fewer than {lookback} sessions before it")
        shape = (len(asofs), len(self.tickers), lookback)
        values = np.empty((*shape, len(COLUMNS)), dtype=np.float32)
        mask = np.empty(shape, dtype=bool)
        for at, end in enumerate(ends):
            part = slice(end - lookback + 1, end + 1)
            values[at] = self.values[:, part]
            mask[at] = self.held[:, part]
            if len(self.moving):
                values[at, self.moving] = _adjusted(self.exact[:, part], self.factor[:, part])
        windows = np.stack([self.days[end - lookback + 1 : end + 1] for end in ends])
        return Panel(tuple(asofs), self.tickers, windows, values, mask)


def _placed(
    bars: pl.DataFrame, days: np.ndarray, names: list[str]
) -> tuple[np.ndarray, np.ndarray]:
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

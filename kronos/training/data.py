"""Training bars: per-ticker arrays, cut off at a date before anything is computed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from kronos.bars import COLUMNS, PRICE_COLUMNS, bars_to_array
from kronos.embeddings import time_features

__all__ = ["TrainingBars", "bars_from_frame", "read_bars"]


@dataclass(frozen=True, eq=False)
class TrainingBars:
    """Bars of all tickers, one ticker after the other, each sorted by date.

    values : float64 [N, 6], stamps : int64 [N, 5], dates : datetime64[D] [N]
    ticker : int64 [N], the number of the ticker a bar belongs to
    """

    tickers: tuple[str, ...]
    values: np.ndarray
    stamps: np.ndarray
    dates: np.ndarray
    ticker: np.ndarray
    dropped: int

    @property
    def sessions(self) -> np.ndarray:
        """All dates, sorted and unique."""
        return np.unique(self.dates)

    def sha256(self) -> str:
        """Over what training sees: tickers, dates and values."""
        digest = hashlib.sha256("\n".join(self.tickers).encode())
        for array in (self.ticker, self.dates.astype(np.int64), self.values):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def read_bars(path: Path, until: date) -> TrainingBars:
    """Read a CSV or parquet file of long bars (pandas needs pyarrow for the latter).

    See :func:`bars_from_frame`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    frame = pd.read_csv(path) if path.suffix.lower() == ".csv" else pd.read_parquet(path)
    return bars_from_frame(frame, until, source=str(path))


def bars_from_frame(frame: pd.DataFrame, until: date, *, source: str = "bars") -> TrainingBars:
    """Long bars up to and including ``until``.

    Parameters
    ----------
    frame : date, ticker, open, high, low, close and optionally volume, amount, adj_factor; prices
        are multiplied by adj_factor; a missing amount is volume · mean(open, high, low, close)

    Bars that are not finite, not positive or have high < low are dropped and counted. Raises
    ValueError for a missing column or when no bar is left.
    """
    needed = ("date", "ticker", *PRICE_COLUMNS)
    if missing := [column for column in needed if column not in frame.columns]:
        raise ValueError(f"{source}: column {missing[0]} is missing; needed: {', '.join(needed)}")
    dates = pd.to_datetime(frame["date"]).to_numpy().astype("datetime64[D]")
    past = dates <= np.datetime64(until, "D")
    frame, dates = frame.loc[past], dates[past]
    values = bars_to_array(frame, source)
    prices = values[:, : len(PRICE_COLUMNS)]
    if "adj_factor" in frame:
        prices *= frame["adj_factor"].to_numpy(dtype=np.float64)[:, None]
    good = np.isfinite(values).all(axis=1) & (prices > 0).all(axis=1)
    good &= values[:, COLUMNS.index("high")] >= values[:, COLUMNS.index("low")]
    names, ticker = np.unique(frame["ticker"].to_numpy(dtype=str)[good], return_inverse=True)
    order = np.lexsort((dates[good], ticker))
    if not len(order):
        raise ValueError(f"{source}: no usable bar at or before {until}")
    values, dates, ticker = values[good][order], dates[good][order], ticker[order]
    return TrainingBars(
        tuple(str(name) for name in names),
        values,
        time_features(dates),
        dates,
        ticker.astype(np.int64),
        int(len(good) - good.sum()),
    )

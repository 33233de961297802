"""What a window of bars must satisfy before the model sees it, and its normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from kronos.embeddings import TIME_TABLES, time_features

__all__ = ["COLUMNS", "PRICE_COLUMNS", "calendar_stamps", "check_bars", "normalise", "read_frames"]

PRICE_COLUMNS = ("open", "high", "low", "close")
COLUMNS = (*PRICE_COLUMNS, "volume", "amount")


def bars_to_array(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Float64 [L, 6] in the order of ``COLUMNS``.

    Without volume, volume and amount are 0; without amount, it is volume · the mean of the four
    prices. Raises ValueError when a price column is missing or not numeric.
    """
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"{name}: bars must be a pandas DataFrame, not {type(frame).__name__}")
    if missing := [column for column in PRICE_COLUMNS if column not in frame.columns]:
        raise ValueError(
            f"{name}: column {missing[0]} is missing; bars need open, high, low, close"
        )
    try:
        prices = frame[list(PRICE_COLUMNS)].to_numpy(dtype=np.float64)
        if "volume" not in frame.columns:
            volume = amount = np.zeros(len(frame))
        else:
            volume = frame["volume"].to_numpy(dtype=np.float64)
            amount = (
                frame["amount"].to_numpy(dtype=np.float64)
                if "amount" in frame.columns
                else volume * prices.mean(axis=1)
            )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: a column is not numeric ({error})") from error
    return np.column_stack((prices, volume, amount))


def check_bars(values: np.ndarray, name: str) -> None:
    """Raise ValueError unless ``values`` [L, 6] are at least two finite bars."""
    if len(values) < 2:
        raise ValueError(f"{name}: {len(values)} bars; a window needs at least 2")
    with np.errstate(over="ignore"):
        broken = ~np.isfinite(values.astype(np.float32))
    if broken.any():
        row, column = np.argwhere(broken)[0]
        raise ValueError(
            f"{name}: {COLUMNS[column]} is {values[row, column]} at row {row}; every bar must be "
            "finite (float32)"
        )


def check_timestamps(context: pd.DatetimeIndex, future: pd.DatetimeIndex, name: str) -> None:
    """Raise ValueError unless all timestamps are there and strictly increasing, context first."""
    for which, index in (("x_timestamp", context), ("y_timestamp", future)):
        if index.hasnans:
            raise ValueError(f"{name}: {which} has a missing value (NaT)")
        steps = np.diff(index.asi8)
        if (steps <= 0).any():
            row = int(np.argmax(steps <= 0)) + 1
            rule = "a duplicate" if steps[row - 1] == 0 else "not sorted"
            raise ValueError(
                f"{name}: {which} is {rule} at row {row} ({index[row]}); timestamps must increase"
            )
    if len(context) and len(future) and not context[-1] < future[0]:
        raise ValueError(
            f"{name}: y_timestamp starts at {future[0]}, not after the last bar ({context[-1]})"
        )


def read_series(
    frame: pd.DataFrame, x_timestamp: Any, y_timestamp: Any, steps: int, name: str
) -> tuple[np.ndarray, pd.DatetimeIndex, pd.DatetimeIndex]:
    """Bars [L, 6] and both timestamp indices of one series, checked.

    Raises ValueError naming the series and the rule.
    """
    values = bars_to_array(frame, name)
    check_bars(values, name)
    context, future = pd.DatetimeIndex(x_timestamp), pd.DatetimeIndex(y_timestamp)
    for which, index, count in (
        ("x_timestamp", context, len(values)),
        ("y_timestamp", future, steps),
    ):
        if len(index) != count:
            raise ValueError(f"{name}: {which} has {len(index)} entries, {count} needed")
    check_timestamps(context, future, name)
    return values, context, future


def read_frames(
    frames: Sequence[pd.DataFrame],
    x_timestamps: Sequence[Any],
    y_timestamps: Sequence[Any],
    pred_len: int,
    names: Sequence[str],
) -> tuple[list[np.ndarray], list[pd.DatetimeIndex], list[pd.DatetimeIndex]]:
    """Values [L, 6], context and future timestamps of each series.

    Raises ValueError naming the series and the rule.
    """
    if not len(frames) == len(x_timestamps) == len(y_timestamps):
        raise ValueError(
            f"{len(frames)} frames, {len(x_timestamps)} x_timestamps and {len(y_timestamps)} "
            "y_timestamps; each series needs one of each"
        )
    if pred_len < 1:
        raise ValueError(f"pred_len is {pred_len}; a forecast needs at least 1 step")
    values, contexts, futures = [], [], []
    for name, frame, x, y in zip(names, frames, x_timestamps, y_timestamps, strict=True):
        bars, context, future = read_series(frame, x, y, pred_len, name)
        check_same_columns(frames[0], frame, names[0], name)
        values.append(bars)
        contexts.append(context)
        futures.append(future)
    return values, contexts, futures


def check_same_columns(first: pd.DataFrame, frame: pd.DataFrame, of: str, name: str) -> None:
    """Raise ValueError unless both series have, or both lack, volume and amount."""
    for column in ("volume", "amount"):
        if (column in first.columns) != (column in frame.columns):
            has = name if column in frame.columns else of
            raise ValueError(
                f"{name}: its columns differ from those of {of}: only {has} has {column}; one "
                "call takes one set of columns"
            )


def calendar_stamps(
    x_stamp: Any, y_stamp: Any, names: list[str], length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Calendar features int64 [B, L, 5] and [B, steps, 5], from features or from datetimes.

    Datetimes ([B, L] and [B, steps], dtype datetime64) are also checked for order. Raises
    ValueError naming the series and the rule.
    """
    x, y = np.asarray(x_stamp), np.asarray(y_stamp)
    rows = len(names)
    for which, array, count in (("x_stamp", x, length), ("y_stamp", y, None)):
        wanted = 2 if array.dtype.kind == "M" else 3
        if array.ndim != wanted or (wanted == 3 and array.shape[2] != len(TIME_TABLES)):
            raise ValueError(
                f"{which} has shape {array.shape}; it must be datetime64 [windows, bars] or "
                "calendar features [windows, bars, 5]"
            )
        if array.shape[0] != rows or (count is not None and array.shape[1] != count):
            raise ValueError(
                f"{which} has shape {array.shape}; there are {rows} windows"
                + (f" of {count} bars" if count is not None else "")
            )
    if y.shape[1] == 0:
        raise ValueError("y_stamp: zero steps; a forecast needs at least 1")
    if x.dtype.kind == "M" and y.dtype.kind == "M":
        for i, name in enumerate(names):
            check_timestamps(pd.DatetimeIndex(x[i]), pd.DatetimeIndex(y[i]), name)
    return _features(x, "x_stamp"), _features(y, "y_stamp")


def _features(stamp: np.ndarray, which: str) -> np.ndarray:
    if stamp.dtype.kind == "M":
        return time_features(stamp)
    features = stamp.astype(np.int64)
    limits = np.array(list(TIME_TABLES.values()))
    if (outside := (features < 0) | (features >= limits)).any():
        row, bar, column = np.argwhere(outside)[0]
        raise ValueError(
            f"{which}: {list(TIME_TABLES)[column]} is {stamp[row, bar, column]} at window {row}, "
            f"bar {bar}; it must lie in 0..{limits[column] - 1}"
        )
    return features


def normalise(
    window: np.ndarray, clip: float, context: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(clipped z-scores [..., L, 6], mean [..., 6], scale [..., 6]) of windows, all float32.

    The mean and the population standard deviation are those of the first ``context`` bars (None:
    of all); bar = z · scale + mean with scale = std + 1e-5.
    """
    x = np.ascontiguousarray(window, dtype=np.float32)
    seen = x[..., :context, :]
    mean = seen.mean(axis=-2)
    scale = seen.std(axis=-2) + np.float32(1e-5)
    z = (x - mean[..., None, :]) / scale[..., None, :]
    return np.clip(z, -clip, clip), mean, scale

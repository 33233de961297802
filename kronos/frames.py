"""The calls that take and give pandas frames, as published implementations do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kronos.bars import read_series

__all__ = ["check_same_columns", "progress", "read_frames"]


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


def progress(steps: int) -> Callable[[int], None]:
    """A counter on stderr."""

    def show(done: int) -> None:
        end = "\n" if done == steps else ""
        sys.stderr.write(f"\rforecast step {done}/{steps}{end}")
        sys.stderr.flush()

    return show

"""Random training windows, and the split by date.

A window is ``length`` consecutive bars of one ticker. Its statistics come from its first
``context`` bars only: the later ones are to be predicted and must not shift them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import torch
from torch import Tensor

from kronos.bars import normalise
from kronos.training.data import TrainingBars

__all__ = ["Batch", "DateSplit", "WindowSampler", "split_dates"]


@dataclass(frozen=True, eq=False)
class Batch:
    """x : float32 [B, L, 6] normalised and clipped; stamp : int64 [B, L, 5]; context : bars."""

    x: Tensor
    stamp: Tensor
    context: int


@dataclass(frozen=True)
class DateSplit:
    """First and last session, inclusive, of the two sets. The sessions between belong to none."""

    train: tuple[date, date]
    held_back: tuple[date, date]


def split_dates(sessions: np.ndarray, *, held_back: int, gap: int) -> DateSplit:
    """Cut sorted ``sessions`` into training, ``gap`` sessions, and ``held_back`` at the end.

    Raises ValueError when nothing is left to train on.
    """
    if len(sessions) <= held_back + gap or held_back < 1:
        raise ValueError(
            f"{len(sessions)} sessions cannot give {held_back} held back after a gap of {gap}"
        )
    days = [day.item() for day in sessions]
    last_train = len(days) - held_back - gap - 1
    return DateSplit((days[0], days[last_train]), (days[-held_back], days[-1]))


class WindowSampler:
    """Windows that lie wholly between two dates, drawn uniformly over (ticker, start)."""

    def __init__(
        self, bars: TrainingBars, span: tuple[date, date], *, length: int, clip: float
    ) -> None:
        self.bars, self.length, self.clip = bars, length, clip
        first, last = (np.datetime64(day, "D") for day in span)
        inside = (bars.dates >= first) & (bars.dates <= last)
        starts = np.arange(max(len(bars.dates) - length + 1, 0))
        ends = starts + length - 1
        # Dates ascend within a ticker, so a window is inside when both its ends are.
        same = bars.ticker[starts] == bars.ticker[ends]
        self.starts = starts[same & inside[starts] & inside[ends]]
        if not len(self.starts):
            raise ValueError(f"no ticker has {length} bars between {span[0]} and {span[1]}")

    def __len__(self) -> int:
        return len(self.starts)

    def draw(self, rng: np.random.Generator, count: int, context: int) -> Batch:
        """``count`` random windows whose first ``context`` bars give the statistics."""
        return self.take(rng.choice(self.starts, size=count), context)

    def spread(self, count: int, context: int) -> Batch:
        """Up to ``count`` windows, evenly spread over all: the same ones at every call."""
        picked = np.linspace(0, len(self.starts) - 1, min(count, len(self.starts)))
        return self.take(self.starts[picked.astype(np.int64)], context)

    def take(self, starts: np.ndarray, context: int) -> Batch:
        rows = starts[:, None] + np.arange(self.length)
        x, _, _ = normalise(self.bars.values[rows], self.clip, context)
        return Batch(torch.from_numpy(x), torch.from_numpy(self.bars.stamps[rows]), context)

"""Training bars, the windows cut from them, and the spans of time that windows are taken from.

A window is ``length`` consecutive bars of one ticker. Its statistics come from its first
``context`` bars only, and its prices are adjusted as of the last of these: the later bars are to be
predicted and must not shift what is seen of the earlier ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kronos.bars import COLUMNS, PRICE_COLUMNS, normalise
from kronos.embeddings import time_features

__all__ = ["Batch", "Span", "TrainingBars", "WindowRules", "Windows", "training_bars"]

PRICES = len(PRICE_COLUMNS)
VOLUME = PRICES


@dataclass(frozen=True, eq=False)
class TrainingBars:
    """Bars as recorded, sorted by (ticker, time).

    Attributes
    ----------
    tickers
        Names, sorted.
    ticker : int64 [N]
        The number of the ticker a bar belongs to.
    times : datetime64[us] [N]
        The session or the start of the bar.
    values : float64 [N, 6]
        Columns of ``kronos.bars.COLUMNS``.
    factor : float64 [N]
        Adjusted price = price · factor.
    """

    tickers: tuple[str, ...]
    ticker: np.ndarray
    times: np.ndarray
    values: np.ndarray
    factor: np.ndarray

    def __len__(self) -> int:
        return len(self.times)

    @cached_property
    def stamps(self) -> np.ndarray:
        """int64 [N, 5], see :func:`kronos.time_features`."""
        return time_features(self.times)

    @cached_property
    def moments(self) -> np.ndarray:
        """All times at which any ticker has a bar, sorted and unique."""
        return np.unique(self.times)

    def sha256(self) -> str:
        """Over what training sees: tickers, times, values and factors."""
        digest = hashlib.sha256("\n".join(self.tickers).encode())
        for array in (self.ticker, self.times.astype(np.int64), self.values, self.factor):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def training_bars(
    ticker: Any, times: Any, values: np.ndarray, factor: np.ndarray | None = None
) -> TrainingBars:
    """Sort bars by (ticker, time).

    Parameters
    ----------
    ticker : [N]
        Names.
    times : [N]
        Dates or moments.
    values : [N, 6]
        Columns of ``kronos.bars.COLUMNS``.
    factor : [N]
        None where prices are consistently adjusted.

    Raises
    ------
    ValueError
        For no bars, a number that is not finite, a factor that is not positive, and for two bars of
        a ticker at one time.
    """
    values = np.asarray(values, dtype=np.float64)
    moments = np.asarray(times).astype("datetime64[us]")
    factors = np.ones(len(values)) if factor is None else np.asarray(factor, dtype=np.float64)
    names, number = np.unique(np.asarray(ticker, dtype=str), return_inverse=True)
    if not len(names):
        raise ValueError("there are no bars to train on")
    for name, array in (*zip(COLUMNS, values.T, strict=True), ("adj_factor", factors)):
        broken = ~np.isfinite(array) | ((array <= 0) & (name == "adj_factor"))
        if broken.any():
            at = int(np.argmax(broken))
            raise ValueError(
                f"{names[number[at]]} at {moments[at]}: {name} is {array[at]}; training needs "
                "finite bars and positive factors"
            )
    order = np.lexsort((moments, number))
    number, moments = number[order].astype(np.int64), moments[order]
    twice = (number[1:] == number[:-1]) & (moments[1:] == moments[:-1])
    if twice.any():
        at = int(np.argmax(twice))
        raise ValueError(f"{names[number[at]]} has two bars at {moments[at]}; keep one")
    return TrainingBars(
        tuple(str(name) for name in names), number, moments, values[order], factors[order]
    )


@dataclass(frozen=True)
class WindowRules:
    """How windows are cut and normalised.

    Attributes
    ----------
    length
        Bars of a window.
    context
        (shortest, longest) first part that its statistics come from; drawn once a step.
    clip
        Normalised bars are clipped to ± this.
    """

    length: int
    context: tuple[int, int]
    clip: float = 5.0

    def __post_init__(self) -> None:
        low, high = self.context
        if not 2 <= low <= high < self.length:
            raise ValueError(
                f"context {low} to {high} must satisfy 2 ≤ shortest ≤ longest < {self.length}, "
                "the bars of a window"
            )

    def contexts(self) -> list[int]:
        """The context lengths that evaluations look at."""
        low, high = self.context
        return sorted({low, (low + high) // 2, high})


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows of one context length.

    Attributes
    ----------
    x : float32 [B, L, 6]
        Normalised and clipped.
    stamp : int64 [B, L, 5]
    context : int
        Bars.
    """

    x: Tensor
    stamp: Tensor
    context: int

    def __len__(self) -> int:
        return len(self.x)

    def split(self, size: int) -> list[Batch]:
        """Batches of at most ``size`` windows."""
        return [
            Batch(x, stamp, self.context)
            for x, stamp in zip(self.x.split(size), self.stamp.split(size), strict=True)
        ]

    def to(self, device: torch.device) -> Batch:
        return Batch(self.x.to(device), self.stamp.to(device), self.context)


@dataclass(frozen=True)
class Span:
    """Times from ``first`` to ``last``, both inclusive, datetime64[us]."""

    first: np.datetime64
    last: np.datetime64

    def holds(self, times: np.ndarray) -> np.ndarray:
        return (times >= self.first) & (times <= self.last)

    def __str__(self) -> str:
        return f"{day_or_time(self.first)} to {day_or_time(self.last)}"


def day_or_time(moment: np.datetime64) -> str:
    text = str(moment.astype("datetime64[s]"))
    return text.removesuffix("T00:00:00")


class Windows:
    """Windows that end within ``span``.

    Without ``after`` they lie wholly in it. With ``after`` (a time), their first bars may lie
    before the span, but later than ``after``: then the bars after the context, which are predicted,
    are those in the span. That lets a short validation span be predicted from full contexts.

    Raises ValueError when not one window fits.
    """

    def __init__(
        self,
        bars: TrainingBars,
        span: Span,
        *,
        length: int,
        clip: float,
        after: np.datetime64 | None = None,
        name: str = "training",
    ) -> None:
        self.bars, self.span, self.length, self.clip = bars, span, length, clip
        self.after = after
        starts = np.arange(max(len(bars) - length + 1, 0))
        ends = starts + length - 1
        # Times ascend within a ticker, so a window is inside when both its ends are.
        same = bars.ticker[starts] == bars.ticker[ends]
        first = bars.times[starts]
        inside = span.holds(first) if after is None else first > after
        self.starts = starts[same & inside & span.holds(bars.times[ends])]
        if not len(self.starts):
            most = np.bincount(bars.ticker[span.holds(bars.times)], minlength=1).max()
            raise ValueError(
                f"no ticker has a {name} window of {length} bars in {span}; the longest history "
                f"there has {most} bars"
            )

    def __len__(self) -> int:
        return len(self.starts)

    def predicting(self, context: int) -> np.ndarray:
        """The starts whose bars after ``context`` all lie in the span."""
        return self.starts[self.bars.times[self.starts + context] >= self.span.first]

    def spread(self, count: int, context: int) -> Batch | None:
        """Up to ``count`` windows, evenly spread over all: the same ones at every call.

        None when at this context no window predicts the span alone.
        """
        starts = self.predicting(context)
        if not len(starts):
            return None
        picked = np.linspace(0, len(starts) - 1, min(count, len(starts)))
        return self.take(starts[picked.astype(np.int64)], context)

    def take(self, starts: np.ndarray, context: int) -> Batch:
        """The windows that begin at rows ``starts`` [B]."""
        rows = starts[:, None] + np.arange(self.length)
        values, factor = self.bars.values[rows], self.bars.factor[rows]
        ratio = factor / factor[:, context - 1 : context]
        values[..., :PRICES] *= ratio[..., None]
        values[..., VOLUME] /= ratio
        x, _, _ = normalise(values, self.clip, context)
        return Batch(torch.from_numpy(x), torch.from_numpy(self.bars.stamps[rows]), context)

"""Everything of a run that can be wrong before a worker starts: bars, spans, networks.

1. `bar_arrays` turns bars into training arrays.
2. `split_bars` finds the spans of training, validation and test, a window's bars apart.
3. `prepare` does both, finds the networks, and sees that every span has a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from engine.data.market import Market, load_market
from engine.errors import UsageError
from engine.train.networks import Networks, find_networks
from engine.train.settings import SpanSettings, SplitSettings, TrainSettings

if TYPE_CHECKING:
    from kronos.training import Span, TrainingBars, WindowRules, Windows

__all__ = ["Prepared", "Split", "bar_arrays", "cut_windows", "prepare", "split_bars"]

COLUMNS = ("open", "high", "low", "close", "volume", "amount")


def bar_arrays(bars: pl.DataFrame) -> TrainingBars:
    """Daily bars (`date`) or intraday bars (`ts`) of the contract. Raises UsageError."""
    from kronos.training import training_bars

    time = "ts" if "ts" in bars.columns else "date"
    moments = bars[time].cast(pl.Datetime("us")) if time == "date" else bars[time]
    try:
        return training_bars(
            bars["ticker"].to_numpy(),
            moments.to_physical().to_numpy().astype("datetime64[us]"),
            bars.select(COLUMNS).to_numpy(),
            bars["adj_factor"].to_numpy(),
        )
    except ValueError as error:
        raise UsageError(f"data: {error}") from None


@dataclass(frozen=True)
class Split:
    """The spans of a run; `gap` is the least number of bar times between two of them."""

    training: Span
    validation: Span
    test: Span | None
    gap: int

    @property
    def until(self) -> date:
        """The last date that training or selection saw."""
        day: Any = self.validation.last.astype("datetime64[D]").item()
        return day


def split_bars(bars: TrainingBars, split: SplitSettings, *, gap: int) -> Split:
    """Training, validation and test by date, with `gap` bar times between two.

    `gap` is a window's length: then no window of one span reaches a bar of another.

    Raises UsageError when spans meet, lie closer than the gap, or hold no bars.
    """
    moments = bars.moments
    if split.training.end is None and split.validation.start is None:
        raise UsageError(
            "split.training.end: needed, or split.validation.start; the bars run from "
            f"{_day(moments[0])} to {_day(moments[-1])}"
        )
    first = 0 if split.training.start is None else _at(moments, split.training.start)
    start = None if split.validation.start is None else _at(moments, split.validation.start)
    if split.training.end is not None:
        stop = _after(moments, split.training.end)
    else:
        assert start is not None
        stop = max(start - gap, 0)
    start = stop + gap if start is None else start
    end = _validation_end(moments, split, gap)
    for name, low, high in (("training", first, stop), ("validation", start, end)):
        if low >= min(high, len(moments)):
            raise UsageError(
                f"split.{name}: holds no bars; the bars run from {_day(moments[0])} to "
                f"{_day(moments[-1])}, and {gap} lie between two spans"
            )
    _apart(moments, "validation", "training", start, stop, gap)
    test = _test(moments, split.test, end, gap)
    return Split(_span(moments, first, stop), _span(moments, start, end), test, gap)


def _validation_end(moments: np.ndarray, split: SplitSettings, gap: int) -> int:
    if split.validation.end is not None:
        return _after(moments, split.validation.end)
    if split.test.start is not None:
        return max(_at(moments, split.test.start) - gap, 0)
    if split.test.end is not None:
        raise UsageError("split.validation.end: needed, or split.test.start, before a test")
    return len(moments)


def _test(moments: np.ndarray, test: SpanSettings, end: int, gap: int) -> Span | None:
    if test.start is None and test.end is None:
        return None
    start = end + gap if test.start is None else _at(moments, test.start)
    stop = len(moments) if test.end is None else _after(moments, test.end)
    if start >= stop:
        raise UsageError(f"split.test: holds no bars; the bars end at {_day(moments[-1])}")
    _apart(moments, "test", "validation", start, end, gap)
    return _span(moments, start, stop)


def _apart(moments: np.ndarray, later: str, earlier: str, start: int, stop: int, gap: int) -> None:
    if start >= stop + gap:
        return
    begins, ends = _day(moments[start]), _day(moments[stop - 1])
    inside = f" lies inside {earlier}, which" if start < stop else f": {earlier}"
    latest = f"{earlier} must end by {_day(moments[start - gap - 1])}" if start > gap else ""
    earliest = (
        f"{later} may start on {_day(moments[stop + gap])}" if stop + gap < len(moments) else ""
    )
    raise UsageError(
        f"split.{later}.start {begins}{inside} ends {ends}; {gap} bar times (a window) must lie "
        f"between them: {' or '.join(filter(None, (earliest, latest))) or 'there are too few bars'}"
    )


def _span(moments: np.ndarray, start: int, stop: int) -> Span:
    from kronos.training import Span

    return Span(moments[start], moments[min(stop, len(moments)) - 1])


def _at(moments: np.ndarray, day: date) -> int:
    """Index of the first bar time on or after `day`."""
    return int(np.searchsorted(moments, np.datetime64(day, "us")))


def _after(moments: np.ndarray, day: date) -> int:
    """Index of the first bar time after `day`."""
    return int(np.searchsorted(moments, np.datetime64(day, "D") + 1))


def _day(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[D]"))


def cut_windows(bars: TrainingBars, rules: WindowRules, split: Split, part: str) -> Windows:
    """The windows of a part of the split; contexts reach back to the part before it.

    Raises ValueError where there is none.
    """
    from kronos.training import Windows

    before = {"training": None, "validation": split.training, "test": split.validation}[part]
    after = None if before is None else before.last
    span = getattr(split, part)
    return Windows(bars, span, length=rules.length, clip=rules.clip, after=after, name=part)


@dataclass(frozen=True)
class Prepared:
    """Bars, spans and networks of a run, all checked."""

    market: Market
    bars: TrainingBars
    split: Split
    networks: Networks


def prepare(settings: TrainSettings) -> Prepared:
    """Raises UsageError for bad input, before any worker starts."""
    networks = find_networks(settings)
    market = load_market(settings.data)
    bars = bar_arrays(market.bars)
    length = settings.windows.length
    split = split_bars(bars, settings.split, gap=length)
    last = (split.test or split.validation).last
    # Nothing later is needed, so nothing later is there to leak.
    bars = bar_arrays(_until(market.bars, last))
    _check_windows(bars, split, settings)
    return Prepared(market, bars, split, networks)


def _until(bars: pl.DataFrame, last: Any) -> pl.DataFrame:
    moment = last.astype("datetime64[us]").item()
    if "ts" in bars.columns:
        return bars.filter(pl.col("ts").dt.replace_time_zone(None) <= moment)
    return bars.filter(pl.col("date") <= moment.date())


def _check_windows(bars: TrainingBars, split: Split, settings: TrainSettings) -> None:
    """Every span has a window, before any worker starts."""
    from kronos.training import WindowRules, validation_batches

    rules = WindowRules(**settings.windows.arguments())
    try:
        cut_windows(bars, rules, split, "training")
        validation_batches(cut_windows(bars, rules, split, "validation"), rules, 1)
    except ValueError as error:
        raise UsageError(f"windows.length: {error}") from None

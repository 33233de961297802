"""Training, validation and test by date, with a gap of a window between them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from engine.errors import UsageError
from engine.train.prepare import bar_arrays, split_bars
from engine.train.settings import SplitSettings

DAYS = [date(2020, 1, 1) + timedelta(days=n) for n in range(100)]


def frame(times: list, column: str, tickers: int = 2) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    frames = []
    for n in range(tickers):
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, len(times))))
        frames.append(
            pl.DataFrame({column: times, "ticker": f"T{n}"}).with_columns(
                **dict.fromkeys(("open", "high", "low", "close"), pl.Series(close)),
                volume=pl.lit(1000.0),
                amount=pl.lit(1000.0) * pl.Series(close),
                adj_factor=pl.lit(1.0),
            )
        )
    return pl.concat(frames)


@pytest.fixture(scope="module")
def bars():
    return bar_arrays(frame(DAYS, "date"))


def split(bars, gap: int = 10, **spans):
    return split_bars(bars, SplitSettings(**spans), gap=gap)


def days(span) -> tuple[int, int]:
    """Positions in DAYS."""
    return tuple(DAYS.index(moment.astype("M8[D]").item()) for moment in (span.first, span.last))


@pytest.mark.parametrize(
    ("spans", "training", "validation", "test"),
    [
        ({"training": {"end": DAYS[49]}}, (0, 49), (60, 99), None),
        ({"validation": {"start": DAYS[60]}}, (0, 49), (60, 99), None),
        (
            {"training": {"start": DAYS[5], "end": DAYS[39]}, "validation": {"start": DAYS[55], "end": DAYS[69]}},
            (5, 39), (55, 69), None,
        ),
        (
            {"training": {"end": DAYS[39]}, "validation": {"end": DAYS[69]}, "test": {"end": DAYS[95]}},
            (0, 39), (50, 69), (80, 95),
        ),
        (
            {"training": {"end": DAYS[39]}, "test": {"start": DAYS[80]}},
            (0, 39), (50, 69), (80, 99),
        ),
    ],
)  # fmt: skip
def test_spans(bars, spans, training, validation, test):
    found = split(bars, **spans)
    assert days(found.training) == training
    assert days(found.validation) == validation
    assert (found.test and days(found.test)) == test
    assert found.until == DAYS[validation[1]]


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ({}, "split.training.end: needed"),
        ({"training": {"end": DAYS[49]}, "validation": {"start": DAYS[30]}}, "split.validation.start 2020-01-31 lies inside training, which ends 2020-02-19"),
        ({"training": {"end": DAYS[49]}, "validation": {"start": DAYS[59]}}, "validation may start on 2020-03-01 or training must end by 2020-02-18"),
        ({"training": {"end": DAYS[95]}}, "split.validation: holds no bars"),
        ({"training": {"end": date(2019, 1, 1)}}, "split.training: holds no bars; the bars run from 2020-01-01 to 2020-04-09"),
        ({"training": {"end": DAYS[39]}, "validation": {"end": DAYS[69]}, "test": {"start": DAYS[75]}}, "split.test.start 2020-03-16: validation ends 2020-03-10"),
        ({"training": {"end": DAYS[39]}, "test": {"end": DAYS[80]}}, "split.validation.end: needed"),
    ],
)  # fmt: skip
def test_spans_that_cannot_be(bars, spans, said):
    with pytest.raises(UsageError, match=said):
        split(bars, **spans)


def test_intraday_bars_are_split_by_their_bar_times():
    """Five-minute bars: the gap is as many bars, minutes rather than months."""
    opening = datetime(2024, 3, 4, 14, 30, tzinfo=UTC)
    times = [opening + timedelta(days=d, minutes=5 * n) for d in range(4) for n in range(78)]
    rows = frame(times, "ts").with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))
    bars = bar_arrays(rows)
    assert len(bars) == 2 * 4 * 78
    assert str(bars.times[1]) == "2024-03-04T14:35:00.000000"
    found = split(bars, gap=24, training={"end": date(2024, 3, 5)})
    assert str(found.training.last) == "2024-03-05T20:55:00.000000"
    assert str(found.validation.first) == "2024-03-06T16:30:00.000000"
    assert found.until == date(2024, 3, 7)


def test_bars_must_be_finite():
    broken = frame(DAYS, "date").with_columns(close=pl.lit(float("nan")))
    with pytest.raises(UsageError, match=r"data: T0 at 2020-01-01.*close is nan"):
        bar_arrays(broken)

"""The last value of a series that is known at a date."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

__all__ = ["MAX_AGE", "attach_known"]

MAX_AGE = timedelta(days=12)
"""An older value is not known any more.

Longer than any exchange's holidays (Shanghai closed for 11 days in 2020). Without a limit, a
benchmark that ended would return 0 ever after, and labels would silently become total returns.
"""


def attach_known(
    frame: pl.DataFrame, series: pl.DataFrame, *, on: str, **columns: str
) -> pl.DataFrame:
    """`frame` with columns of `series` at the last date at or before the dates in `on`.

    Parameters
    ----------
    frame
        Any order; kept.
    series
        One row a date, sorted by the column `date`.
    on
        The column of `frame` that holds dates.
    columns
        Name in the result → column of `series`. Null where no value is at most `MAX_AGE` old.
    """
    assert series["date"].is_sorted(), "join_asof needs sorted dates"
    dates = frame.select(on).unique().sort(on)
    known = dates.join_asof(
        series.select("date", **columns),
        left_on=on,
        right_on="date",
        strategy="backward",
        tolerance=MAX_AGE,
    )
    return frame.join(known.select(on, *columns), on=on, how="left", maintain_order="left")

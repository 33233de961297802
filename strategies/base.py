"""What every strategy and every step offers."""

from __future__ import annotations

from typing import Protocol

import polars as pl

__all__ = ["Step", "Strategy"]


class Strategy(Protocol):
    """Turns a score frame into target weights."""

    def weights(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Target weights at the rebalance dates.

        Parameters
        ----------
        frame
            asof, ticker, horizon, score and optionally score_std, p_up, q05, q50, q95 and features.
            Rows with status ``ok`` only, never labels.

        Returns
        -------
        pl.DataFrame
            asof, ticker, weight (share of equity, f64), sorted by (asof, ticker). Every scored name
            has a row on its date; 0.0 means scored and not held. A name without a row on a date
            that has rows is not held either. A date without rows is no rebalance: the book stays.
        """
        ...


class Step(Protocol):
    """One step of a strategy: a pure function from frame to frame, over all dates at once.

    The frame is sorted by (asof, ticker). What a step adds for a date may depend on that date's
    rows and on earlier ones, never on later ones.
    """

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame: ...

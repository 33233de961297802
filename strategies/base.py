"""What every strategy offers."""

from __future__ import annotations

from typing import Protocol

import polars as pl

__all__ = ["Strategy"]


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
            that has rows is not held either.
        """
        ...

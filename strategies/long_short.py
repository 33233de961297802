"""Long the best, short the worst.

1. ``scores_at_horizon`` keeps one horizon, ``rank_names`` orders each date
2. ``select_tails`` takes the two tails
3. ``equal_weights_by_leg`` gives each leg half of the gross exposure
4. ``check_weights`` refuses a book beyond its limit
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from .constrain import check_weights
from .select import rank_names, scores_at_horizon, select_tails
from .weigh import equal_weights_by_leg

__all__ = ["LongShortQuantile"]


@dataclass(frozen=True)
class LongShortQuantile:
    """Dollar-neutral quantile portfolio: long the top, short the bottom ⌊n · quantile⌋ names.

    Names tie by score descending, then ticker ascending; each leg holds at least one name and the
    legs never overlap. A date whose scores are all equal, or with fewer than two names, holds
    nothing: its names have weight 0.0, so that an earlier book is closed rather than kept.

    Parameters
    ----------
    quantile
        Share of the cross-section in each leg, in (0, 0.5].
    gross
        Σ|weight|, shares of equity; half of it long, half short.
    horizon
        Horizon in sessions whose score decides; None takes the longest in the frame.

    Raises
    ------
    ValueError
        Naming ``strategy.<parameter>`` and the rule it breaks.
    """

    quantile: float = 0.2
    gross: float = 1.0
    horizon: int | None = None

    def __post_init__(self) -> None:
        if not _is_number(self.quantile) or not 0 < self.quantile <= 0.5:
            raise ValueError(
                f"strategy.quantile: {self.quantile!r} must be above 0 and at most 0.5,"
                " so that the long and short legs do not overlap"
            )
        if not _is_number(self.gross) or not (0 < self.gross < math.inf):
            raise ValueError(f"strategy.gross: {self.gross!r} must be a positive finite number")
        if self.horizon is not None and (
            not isinstance(self.horizon, int) or isinstance(self.horizon, bool) or self.horizon < 1
        ):
            raise ValueError(
                f"strategy.horizon: {self.horizon!r} must be a whole number of sessions, at least"
                " 1, or null for the longest"
            )

    def weights(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Target weights at each asof: asof, ticker, weight, one row per scored name."""
        scores = scores_at_horizon(frame, horizon=self.horizon)
        selected = select_tails(rank_names(scores), quantile=self.quantile)
        return check_weights(equal_weights_by_leg(selected, gross=self.gross), gross=self.gross)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value

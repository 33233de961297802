"""Weigh: how much of each selected name.

Each step takes ``side`` and adds ``size`` ≥ 0, the name's share before its leg is scaled. A name
whose size cannot be known (a missing volatility, say) gets 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from .checks import fraction, needs_columns, positive

__all__ = ["ByConfidence", "ByScore", "Equal", "InverseVolatility", "Kelly", "scale_legs"]


@dataclass(frozen=True)
class Equal:
    """The same for every selected name."""

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        return _sized(frame, pl.lit(1.0))


@dataclass(frozen=True)
class ByScore:
    """In proportion to the score's distance from the cross-section's mean."""

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        return _sized(frame, (pl.col("score") - pl.col("score").mean().over("asof")).abs())


@dataclass(frozen=True)
class InverseVolatility:
    """In proportion to 1 / volatility: every name brings about the same risk."""

    column: str = "volatility_60"

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        needs_columns(frame, self.column, step="inverse_volatility")
        return _sized(frame, _reciprocal(pl.col(self.column)))


@dataclass(frozen=True)
class ByConfidence:
    """In proportion to 1 / score_std, the dispersion of the sampled paths.

    Raises ValueError where no name of a date has one: it takes at least two paths.
    """

    needs_dispersion: ClassVar[bool] = True

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        _needs_dispersion(frame, step="by_confidence")
        return _sized(frame, _reciprocal(pl.col("score_std")))


@dataclass(frozen=True)
class Kelly:
    """A ``fraction`` of score / score_std², capped a name (Kelly 1956; Thorp 2006).

    Score and dispersion are of the same horizon, so the ratio needs no annualising. These are
    weights, not shares of a leg: legs are scaled down to the gross limit, never up.
    Raises ValueError where no name of a date has a score_std.
    """

    needs_dispersion: ClassVar[bool] = True

    fraction: float = 0.25
    cap: float = 0.1

    def __post_init__(self) -> None:
        fraction("fraction", self.fraction)
        positive("cap", self.cap)

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        _needs_dispersion(frame, step="kelly")
        variance = pl.col("score_std") ** 2
        full = pl.col("score").abs() / pl.when(variance > 0).then(variance)
        return _sized(frame, (self.fraction * full).clip(upper_bound=self.cap))


def scale_legs(frame: pl.DataFrame, *, gross: float, net: float | None) -> pl.DataFrame:
    """Adds ``weight``: side · size with the long leg summing to (gross + net)/2, the short one to
    (gross − net)/2.

    With ``net`` None sizes are weights already; only what is above ``gross`` is scaled down. Where
    a leg that should hold something has nothing to hold, the date holds nothing: half a neutral
    book is a bet on the market.
    """
    size = pl.col("size")
    if net is None:
        total = size.sum().over("asof")
        weight = pl.col("side") * size * pl.when(total > gross).then(gross / total).otherwise(1.0)
        return frame.with_columns(weight=weight.fill_nan(0.0).cast(pl.Float64))
    long_sum = pl.when(pl.col("side") > 0).then(size).otherwise(0.0).sum().over("asof")
    short_sum = pl.when(pl.col("side") < 0).then(size).otherwise(0.0).sum().over("asof")
    long_leg, short_leg = (gross + net) / 2, (gross - net) / 2
    whole = pl.lit(True)
    if long_leg > 0:
        whole = whole & (long_sum > 0)
    if short_leg > 0:
        whole = whole & (short_sum > 0)
    weight = (
        pl.when((pl.col("side") > 0) & whole)
        .then(long_leg * size / long_sum)
        .when((pl.col("side") < 0) & whole)
        .then(-short_leg * size / short_sum)
        .otherwise(0.0)
    )
    return frame.with_columns(weight=weight.cast(pl.Float64))


def _needs_dispersion(frame: pl.DataFrame, *, step: str) -> None:
    needs_columns(frame, "score_std", step=step)
    known = frame.group_by("asof", maintain_order=True).agg(pl.col("score_std").count())
    missing = known.filter(pl.col("score_std") == 0)
    if missing.height:
        raise ValueError(
            f"strategy step {step!r}: no score of {missing['asof'][0]} has a score_std; "
            "it takes scoring.sampling.paths of at least 2"
        )


def _sized(frame: pl.DataFrame, size: pl.Expr) -> pl.DataFrame:
    known = pl.when(pl.col("side") != 0).then(size.fill_nan(None)).otherwise(0.0)
    return frame.with_columns(size=known.fill_null(0.0).cast(pl.Float64))


def _reciprocal(values: pl.Expr) -> pl.Expr:
    return 1.0 / pl.when(values > 0).then(values)

"""Constrain: what no book may break, and what a book is scaled to.

Each step takes ``weight`` and changes it, using that date's rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from .checks import at_least, fraction, needs_columns, positive

__all__ = ["BetaNeutral", "MaxName", "MaxNet", "VolatilityTarget", "check_weights"]

_TOLERANCE = 1e-9


@dataclass(frozen=True)
class MaxName:
    """No |weight| above ``limit``; what is cut off stays in cash."""

    limit: float = 0.1

    def __post_init__(self) -> None:
        positive("max_name.limit", self.limit)

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(pl.col("weight").clip(-self.limit, self.limit))


@dataclass(frozen=True)
class MaxNet:
    """|Σ weight| of at most ``limit``: the larger leg is scaled down."""

    limit: float = 0.0

    def __post_init__(self) -> None:
        at_least("max_net.limit", self.limit, 0)

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        weight = pl.col("weight")
        long = weight.clip(lower_bound=0).sum().over("asof")
        short = -weight.clip(upper_bound=0).sum().over("asof")
        scale = (
            pl.when((weight > 0) & (long > short + self.limit))
            .then((short + self.limit) / long)
            .when((weight < 0) & (short > long + self.limit))
            .then((long + self.limit) / short)
            .otherwise(1.0)
        )
        return frame.with_columns(weight * scale)


@dataclass(frozen=True)
class BetaNeutral:
    """Scales the legs so that Σ weight · beta = 0 at the same Σ|weight|.

    Works where both legs have a beta above zero, the leg's mean weighted by size; a name without a
    beta counts with 1, the market's. On a date where it cannot work the book is left as it is, as
    legs of opposite beta offset nothing.
    """

    column: str = "beta_252"

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        needs_columns(frame, self.column, step="beta_neutral")
        weight = pl.col("weight")
        beta = pl.col(self.column).cast(pl.Float64).fill_nan(None).fill_null(1.0)
        long = weight.clip(lower_bound=0)
        short = -weight.clip(upper_bound=0)
        gross = weight.abs().sum().over("asof")
        long_beta = (long * beta).sum().over("asof") / long.sum().over("asof")
        short_beta = (short * beta).sum().over("asof") / short.sum().over("asof")
        works = (long_beta > 0) & (short_beta > 0)
        long_leg = gross * short_beta / (long_beta + short_beta)
        scaled = (
            pl.when(weight > 0)
            .then(weight / long.sum().over("asof") * long_leg)
            .when(weight < 0)
            .then(weight / short.sum().over("asof") * (gross - long_leg))
            .otherwise(0.0)
        )
        return frame.with_columns(pl.when(works).then(scaled).otherwise(weight).alias("weight"))


@dataclass(frozen=True)
class VolatilityTarget:
    """Scales the book to an expected annual volatility of ``target``, never above ``gross``.

    Expected variance under one correlation ρ for every pair (Elton & Gruber 1973):
    (1 − ρ) Σ w²σ² + ρ (Σ wσ)², σ from ``column`` (annualised). A name without a volatility takes
    the date's median.
    """

    target: float = 0.1
    column: str = "volatility_60"
    correlation: float = 0.3
    gross: float = 2.0

    def __post_init__(self) -> None:
        positive("volatility_target.target", self.target)
        positive("volatility_target.gross", self.gross)
        fraction("volatility_target.correlation", self.correlation)

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        needs_columns(frame, self.column, step="volatility_target")
        weight = pl.col("weight")
        sigma = pl.col(self.column).cast(pl.Float64).fill_nan(None)
        risk = weight * sigma.fill_null(sigma.median().over("asof"))
        own, common = (risk**2).sum().over("asof"), risk.sum().over("asof") ** 2
        expected = ((1 - self.correlation) * own + self.correlation * common).sqrt()
        exposure = weight.abs().sum().over("asof")
        scale = pl.min_horizontal(self.target / expected, self.gross / exposure)
        usable = (expected > 0) & expected.is_finite()
        return frame.with_columns(
            pl.when(usable).then(weight * scale).otherwise(0.0).alias("weight")
        )


def check_weights(weights: pl.DataFrame, *, gross: float) -> pl.DataFrame:
    """Returns the weights unchanged, sorted by (asof, ticker), if they are a valid book.

    Raises ValueError naming the date (and ticker) when a weight is null, NaN or infinite, when a
    (asof, ticker) pair is repeated, or when Σ|w| of a date exceeds ``gross``.
    """
    weights = weights.sort("asof", "ticker")
    bad = weights.filter(pl.col("weight").is_null() | ~pl.col("weight").is_finite())
    if bad.height:
        row = bad.row(0, named=True)
        raise ValueError(
            f"weight of {row['ticker']} on {row['asof']} is {row['weight']}: weights must be finite"
        )
    repeated = weights.filter(pl.struct("asof", "ticker").is_duplicated())
    if repeated.height:
        row = repeated.row(0, named=True)
        raise ValueError(f"{row['ticker']} has more than one weight on {row['asof']}")
    exposure = weights.group_by("asof", maintain_order=True).agg(pl.col("weight").abs().sum())
    over = exposure.filter(pl.col("weight") > gross * (1 + _TOLERANCE))
    if over.height:
        asof, total = over.row(0)
        raise ValueError(
            f"weights on {asof}: sum of |weight| is {total:.6g}, above strategy.gross {gross:g}"
        )
    return weights

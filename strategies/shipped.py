"""The strategies that have a name, each a composition of steps.

Every class is frozen, its fields are the parameters of ``strategy:`` in the configuration, and
``weights`` is that of :class:`compose.Composed`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import polars as pl

from .base import Step
from .candidates import Blend
from .compose import Composed
from .constrain import BetaNeutral, VolatilityTarget
from .schedule import Once
from .select import Everyone, SignOfScore, Tails, TopK, TopKDropout
from .weigh import ByConfidence, ByScore, Equal, InverseVolatility, Kelly

__all__ = ["SHIPPED", "LongShortQuantile"]


class _Shipped(ABC):
    @abstractmethod
    def composed(self) -> Composed:
        """The steps."""

    def __post_init__(self) -> None:
        self.composed()  # its steps check the parameters

    @property
    def path_dependent(self) -> bool:
        """Whether weights of a date depend on earlier dates."""
        return self.composed().path_dependent

    @property
    def needs_dispersion(self) -> bool:
        """Whether sizes come from the dispersion of sampled paths."""
        return self.composed().needs_dispersion

    def weights(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Target weights at each asof: asof, ticker, weight, one row per scored name."""
        return self.composed().weights(frame)


@dataclass(frozen=True)
class LongShortQuantile(_Shipped):
    """Dollar-neutral: long the top, short the bottom ⌊n · quantile⌋ names, equally weighted.

    Names tie by score descending, then ticker ascending; each leg holds at least one name and the
    legs never overlap. A date whose scores are all equal, or with fewer than two names, holds
    nothing: its names have weight 0.0, so that an earlier book is closed rather than kept.
    ``buffer`` keeps a held name while it ranks within (1 + buffer) times the leg.
    """

    quantile: float = 0.2
    gross: float = 1.0
    horizon: int | None = None
    buffer: float = 0.0

    def composed(self) -> Composed:
        return Composed(
            select=Tails(self.quantile, self.buffer),
            weigh=self._weigh(),
            constrain=self._constrain(),
            score=self._score(),
            gross=self.gross,
            horizon=self.horizon,
        )

    def _weigh(self) -> Step:
        return Equal()

    def _constrain(self) -> tuple[Step, ...]:
        return ()

    def _score(self) -> Step | None:
        return None


@dataclass(frozen=True)
class MomentumBlend(LongShortQuantile):
    """LongShortQuantile on the mean of two ranks: the score's and ``column``'s."""

    column: str = "momentum_12m"
    momentum_weight: float = 1.0

    def _score(self) -> Step:
        return Blend(self.column, self.momentum_weight)


@dataclass(frozen=True)
class VolatilityTargeted(LongShortQuantile):
    """LongShortQuantile scaled to an expected annual volatility, ``gross`` at most."""

    gross: float = 2.0
    target: float = 0.1
    column: str = "volatility_60"
    correlation: float = 0.3

    def _constrain(self) -> tuple[Step, ...]:
        return (VolatilityTarget(self.target, self.column, self.correlation, self.gross),)


@dataclass(frozen=True)
class BetaNeutralQuantile(LongShortQuantile):
    """LongShortQuantile with legs sized so that their betas offset."""

    column: str = "beta_252"

    def _constrain(self) -> tuple[Step, ...]:
        return (BetaNeutral(self.column),)


@dataclass(frozen=True)
class InverseVolatilityQuantile(LongShortQuantile):
    """LongShortQuantile whose names weigh 1 / volatility within their leg."""

    column: str = "volatility_60"

    def _weigh(self) -> Step:
        return InverseVolatility(self.column)


@dataclass(frozen=True)
class UncertaintyWeighted(LongShortQuantile):
    """LongShortQuantile whose names weigh 1 / dispersion of sampled paths within their leg."""

    def _weigh(self) -> Step:
        return ByConfidence()


@dataclass(frozen=True)
class LongTopK(_Shipped):
    """Long the best k names, equally weighted; ``buffer`` as in LongShortQuantile."""

    k: int = 10
    gross: float = 1.0
    horizon: int | None = None
    buffer: float = 0.0

    def composed(self) -> Composed:
        return _long_only(TopK(self.k, self.buffer), self.gross, self.horizon)


@dataclass(frozen=True)
class Dropout(_Shipped):
    """Long k names, of which at most ``drop`` are exchanged at a rebalance."""

    k: int = 10
    drop: int = 2
    min_hold: int = 1
    gross: float = 1.0
    horizon: int | None = None

    def composed(self) -> Composed:
        return _long_only(TopKDropout(self.k, self.drop, self.min_hold), self.gross, self.horizon)


@dataclass(frozen=True)
class ScoreWeighted(_Shipped):
    """Dollar-neutral over all names, in proportion to the score's distance from the mean."""

    gross: float = 1.0
    horizon: int | None = None

    def composed(self) -> Composed:
        return Composed(
            select=SignOfScore(), weigh=ByScore(), gross=self.gross, horizon=self.horizon
        )


@dataclass(frozen=True)
class FractionalKelly(_Shipped):
    """Every name by its own forecast: a fraction of the Kelly bet, capped a name and in total."""

    fraction: float = 0.25
    cap: float = 0.1
    gross: float = 1.0
    horizon: int | None = None

    def composed(self) -> Composed:
        return Composed(
            select=SignOfScore("zero"),
            weigh=Kelly(self.fraction, self.cap),
            gross=self.gross,
            net=None,
            horizon=self.horizon,
        )


@dataclass(frozen=True)
class EqualWeight(_Shipped):
    """Reference: every scored name alike, rebalanced each time."""

    gross: float = 1.0
    horizon: int | None = None

    def composed(self) -> Composed:
        return _long_only(Everyone(), self.gross, self.horizon)


@dataclass(frozen=True)
class BuyAndHold(_Shipped):
    """Reference: every name scored on the first date alike, never traded again."""

    gross: float = 1.0
    horizon: int | None = None

    def composed(self) -> Composed:
        return replace(_long_only(Everyone(), self.gross, self.horizon), schedule=Once())


def _long_only(select: Step, gross: float, horizon: int | None) -> Composed:
    return Composed(select=select, weigh=Equal(), gross=gross, net=gross, horizon=horizon)


SHIPPED: dict[str, type[_Shipped]] = {
    "long_short_quantile": LongShortQuantile,
    "long_top_k": LongTopK,
    "top_k_dropout": Dropout,
    "score_weighted": ScoreWeighted,
    "momentum_blend": MomentumBlend,
    "volatility_targeted": VolatilityTargeted,
    "beta_neutral": BetaNeutralQuantile,
    "inverse_volatility": InverseVolatilityQuantile,
    "uncertainty_weighted": UncertaintyWeighted,
    "fractional_kelly": FractionalKelly,
    "equal_weight": EqualWeight,
    "buy_and_hold": BuyAndHold,
}

"""A strategy out of steps.

1. ``scores_at_horizon`` keeps the candidates of one horizon, ``schedule`` the dates
2. ``score`` may change the score (a blend with momentum, say), ``rank_names`` orders each date
3. ``select`` picks names and sides, ``weigh`` their sizes, ``scale_legs`` makes them weights
4. ``constrain`` bounds or scales the book, ``check_weights`` refuses one beyond its limits
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import polars as pl

from .base import Step
from .candidates import Blend, rank_names, scores_at_horizon
from .checks import at_least, nearest, positive, whole
from .constrain import BetaNeutral, MaxName, MaxNet, VolatilityTarget, check_weights
from .schedule import Every, Once
from .select import Everyone, SignOfScore, Tails, TopK, TopKDropout
from .weigh import ByConfidence, ByScore, Equal, InverseVolatility, Kelly, scale_legs

__all__ = ["STEPS", "Composed", "build_composed"]

STEPS: dict[str, dict[str, type]] = {
    "score": {"blend": Blend},
    "select": {
        "tails": Tails,
        "top_k": TopK,
        "top_k_dropout": TopKDropout,
        "sign": SignOfScore,
        "everyone": Everyone,
    },
    "weigh": {
        "equal": Equal,
        "by_score": ByScore,
        "inverse_volatility": InverseVolatility,
        "by_confidence": ByConfidence,
        "kelly": Kelly,
    },
    "constrain": {
        "max_name": MaxName,
        "max_net": MaxNet,
        "beta_neutral": BetaNeutral,
        "volatility_target": VolatilityTarget,
    },
    "schedule": {"every": Every, "once": Once},
}
"""Steps by kind and name, as they are written in YAML."""

_OWN = __package__ or "strategies"
_COMPOSED_KEYS = ("score", "select", "weigh", "constrain", "schedule", "gross", "net", "horizon")


@dataclass(frozen=True)
class Composed:
    """Steps, and the legs they are scaled to.

    Parameters
    ----------
    select, weigh
        The steps that choose names and sizes.
    constrain
        Steps applied in order to the weights.
    score
        Step that changes the score before ranking, or None.
    schedule
        Step that keeps some of the rebalance dates.
    gross
        Σ|weight| that the legs are scaled to, and that no date may exceed unless a constraint
        scales to its own limit.
    net
        Σ weight: 0 is dollar-neutral, ``gross`` long-only; None takes sizes as weights.
    horizon
        Horizon in sessions whose score decides; None takes the longest in the frame.
    """

    select: Step
    weigh: Step
    constrain: Sequence[Step] = ()
    score: Step | None = None
    schedule: Step = field(default_factory=Every)
    gross: float = 1.0
    net: float | None = 0.0
    horizon: int | None = None

    def __post_init__(self) -> None:
        positive("gross", self.gross)
        if self.net is not None:
            at_least("net", self.net, -self.gross)
            if self.net > self.gross:
                raise ValueError(f"strategy.net: {self.net!r} must be at most gross {self.gross:g}")
        if self.horizon is not None:
            whole("horizon", self.horizon, unit=" of sessions or null for the longest")

    @property
    def limit(self) -> float:
        """Σ|weight| that no date may exceed."""
        scaled = [step.gross for step in self.constrain if isinstance(step, VolatilityTarget)]
        return max([self.gross, *scaled])

    @property
    def path_dependent(self) -> bool:
        """Whether weights of a date depend on earlier dates.

        A step says so with an attribute of this name; one from elsewhere that says nothing may
        remember anything.
        """
        steps = [self.score, self.select, self.weigh, *self.constrain, self.schedule]
        return any(
            getattr(step, "path_dependent", not type(step).__module__.startswith(_OWN))
            for step in steps
            if step is not None
        )

    @property
    def needs_dispersion(self) -> bool:
        """Whether sizes come from the dispersion of sampled paths."""
        return bool(getattr(self.weigh, "needs_dispersion", False))

    def weights(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Target weights at each kept asof: asof, ticker, weight, one row per scored name."""
        book = self.schedule(scores_at_horizon(frame, horizon=self.horizon))
        if self.score is not None:
            book = self.score(book)
        book = self.weigh(self.select(rank_names(book)))
        book = scale_legs(book, gross=self.gross, net=self.net)
        for step in self.constrain:
            book = step(book)
        return check_weights(book.select("asof", "ticker", "weight"), gross=self.limit)


def build_composed(parameters: Mapping[str, Any]) -> Composed:
    """A composition as written in YAML: ``{select: {step: tails, quantile: 0.1}, weigh: equal}``.

    A step is its name or a mapping with ``step`` and its parameters; ``constrain`` is a list of
    them. Raises ValueError naming the key and the rule for a missing or unknown step or parameter.
    """
    for key in parameters:
        if key not in _COMPOSED_KEYS:
            raise ValueError(
                f"strategy.{key}: composed has no such key;{nearest(key, _COMPOSED_KEYS)} its keys:"
                f" {', '.join(_COMPOSED_KEYS)}"
            )
    for kind in ("select", "weigh"):
        if parameters.get(kind) is None:
            raise ValueError(
                f"strategy.{kind}: this step is missing; there are: {', '.join(STEPS[kind])}"
            )
    listed = parameters.get("constrain") or []
    if not isinstance(listed, (list, tuple)):
        raise ValueError("strategy.constrain: must be a list of steps")
    built: dict[str, Any] = {
        kind: _step(kind, parameters[kind])
        for kind in ("score", "select", "weigh", "schedule")
        if parameters.get(kind) is not None
    }
    given = {key: parameters[key] for key in ("gross", "net", "horizon") if key in parameters}
    return Composed(**built, constrain=tuple(_step("constrain", item) for item in listed), **given)


def _step(kind: str, written: Any) -> Any:
    content = {"step": written} if isinstance(written, str) else written
    if not isinstance(content, Mapping) or not isinstance(content.get("step"), str):
        raise ValueError(f"strategy.{kind}: {written!r} must name a step, as in {{step: NAME, …}}")
    name = content["step"]
    known = STEPS[kind]
    if name not in known:
        raise ValueError(
            f"strategy.{kind}: no step {name!r};{nearest(name, known)} known: {', '.join(known)}"
        )
    parameters = {key: value for key, value in content.items() if key != "step"}
    accepted = [parameter.name for parameter in fields(known[name])]
    for key in parameters:
        if key not in accepted:
            raise ValueError(
                f"strategy.{kind}.{key}: {name} has no such parameter;{nearest(key, accepted)} its"
                f" parameters: {', '.join(accepted) or 'none'}"
            )
    return known[name](**parameters)

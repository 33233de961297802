"""Everything that decides how a stage trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Conditioning", "Recipe", "WindowRules"]

Conditioning = Literal["teacher", "sampled"]


@dataclass(frozen=True)
class WindowRules:
    """How windows are cut and normalised.

    length : bars of a window
    context : (shortest, longest) first part that its statistics come from; drawn once a step
    clip : normalised bars are clipped to ± this
    """

    length: int
    context: tuple[int, int]
    clip: float = 5.0

    def __post_init__(self) -> None:
        low, high = self.context
        if not 2 <= low <= high < self.length:
            raise ValueError(
                f"context {low} to {high} must satisfy 2 ≤ shortest ≤ longest < {self.length}, "
                "the bars of a window"
            )

    def contexts(self) -> list[int]:
        """The context lengths that evaluations look at."""
        low, high = self.context
        return sorted({low, (low + high) // 2, high})


@dataclass(frozen=True)
class Recipe:
    """One stage: AdamW under a one-cycle learning rate (Smith, 2018).

    steps : optimiser steps
    batch : windows of a step, over all workers and accumulated parts
    accumulate : parts of a worker's batch whose gradients are added up before a step
    pct_start, div_factor : share of the steps that the rate rises, and peak over first rate
    evaluate_every : steps between looks at the validation windows
    patience : looks without an improvement after which the stage ends; 0 never ends it early
    """

    steps: int
    batch: int
    learning_rate: float
    max_grad_norm: float
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    pct_start: float = 0.03
    div_factor: float = 10.0
    accumulate: int = 1
    epoch_windows: int = 100_000
    evaluate_every: int = 500
    patience: int = 0

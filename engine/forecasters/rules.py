"""Forecasters without a model: what a learned one must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from engine.forecasters.forecaster import Forecaster, WindowPanel
from engine.forecasters.statistics import step_statistics

__all__ = ["RULES", "RuleSpec"]

RULES = ("momentum", "reversal", "persistence")
REVERSAL_BARS = 5
CLOSE = 3


@dataclass(frozen=True)
class RuleSpec:
    """momentum: the window's return goes on; reversal: the last five bars' return turns round;
    persistence: the price stays (all scores zero, so it has no RankIC)."""

    name: Literal["momentum", "reversal", "persistence"]

    def identity(self) -> dict[str, Any]:
        """The rule's name and its one constant."""
        return {"forecaster": self.name, "reversal_bars": REVERSAL_BARS}

    def nested_steps(self, lookback: int) -> int | None:
        """A rule's step knows nothing of later ones."""
        return None

    def build(self, threads: int) -> Forecaster:
        """The forecaster itself; needs no threads of its own."""
        return _RuleForecaster(self.name)


class _RuleForecaster:
    def __init__(self, name: str) -> None:
        self._name = name

    def score(self, panel: WindowPanel, asof: np.ndarray) -> pl.DataFrame:
        close = panel.values[:, :, CLOSE].astype(np.float64)
        last = close[:, -1]
        if self._name == "momentum":
            drift = last / close[:, 0] - 1.0
        elif self._name == "reversal":
            drift = -(last / close[:, -1 - min(REVERSAL_BARS, close.shape[1] - 1)] - 1.0)
        else:
            drift = np.zeros_like(last)
        steps = panel.future.shape[1]
        closes = np.repeat((last * (1.0 + drift))[:, None, None], steps, axis=2)
        return step_statistics(panel.tickers, asof, last, closes)

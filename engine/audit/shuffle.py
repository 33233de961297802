"""Scores dealt out anew within each date: their RankIC must vanish, and the real one stand out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from backtest.statistics.ic import judged_rows
from engine.audit.findings import Finding

__all__ = ["Permutation", "permutation_test"]

_DRAWS = 200
_SUSPICIOUS_ERRORS = 5.0


@dataclass(frozen=True)
class Permutation:
    """One horizon's permutation test.

    Attributes
    ----------
    horizon
        In sessions.
    n_dates
        Dates with enough names.
    rank_ic
        Mean RankIC of the scores as they are.
    p_value
        Share of the draws whose mean RankIC is at least as large in size (the real one counted
        among them). Permuting labels within a date is the same as permuting scores.
    shuffled_mean
        Mean over the draws; 0 but for chance.
    shuffled_error
        The standard error that chance gives it, 1/√(n − 1) a date and draw.
    """

    horizon: int
    n_dates: int
    rank_ic: float
    p_value: float
    shuffled_mean: float
    shuffled_error: float

    @property
    def suspicious(self) -> bool:
        """The tripwire: shuffled scores still rank."""
        return abs(self.shuffled_mean) > _SUSPICIOUS_ERRORS * self.shuffled_error

    def finding(self) -> Finding:
        """For the findings table."""
        return Finding(
            check="shuffled",
            table="panel",
            column="rank_ic",
            date=None,
            ticker=None,
            expected=f"0 ± {self.shuffled_error:.4f}",
            found=f"{self.shuffled_mean:.4f}",
            cells=self.n_dates,
        )


def permutation_test(
    panel: pl.DataFrame, *, min_cross_section: int, seed: int, draws: int = _DRAWS
) -> list[Permutation]:
    """One test a horizon that has a date with enough names and scores that differ."""
    rows = judged_rows(panel).sort("horizon", "asof", "ticker")
    ranked = rows.select(
        "horizon",
        "asof",
        x=pl.col("score").rank("average").over("asof", "horizon"),
        y=pl.col("label").rank("average").over("asof", "horizon"),
    )
    found = []
    for (horizon,), part in ranked.group_by("horizon", maintain_order=True):
        rng = np.random.default_rng([seed, int(str(horizon))])
        dates = [
            (one["x"].to_numpy(), one["y"].to_numpy())
            for one in part.partition_by("asof", maintain_order=True)
            if one.height >= min_cross_section and one["x"].n_unique() > 1 < one["y"].n_unique()
        ]
        if not dates:
            continue
        real = float(np.mean([np.corrcoef(x, y)[0, 1] for x, y in dates]))
        shuffled = np.mean([_shuffled(x, y, draws, rng) for x, y in dates], axis=0)
        variance = sum(1 / (len(x) - 1) for x, _ in dates) / len(dates) ** 2
        beyond = int((np.abs(shuffled) >= abs(real) - 1e-12).sum())
        found.append(
            Permutation(
                horizon=int(str(horizon)),
                n_dates=len(dates),
                rank_ic=real,
                p_value=(1 + beyond) / (1 + draws),
                shuffled_mean=float(shuffled.mean()),
                shuffled_error=math.sqrt(variance / draws),
            )
        )
    return found


def _shuffled(x: np.ndarray, y: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    dealt = rng.permuted(np.tile(x - x.mean(), (draws, 1)), axis=1)
    centred = y - y.mean()
    return dealt @ centred / (np.linalg.norm(x - x.mean()) * np.linalg.norm(centred))

"""The list of fits: for each (training fold, horizon), what to learn from and what to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import polars as pl

from engine.baselines.training_set import TrainingSet
from engine.calendar import TradingCalendar
from engine.features.folds import fold_first_session, training_rows

__all__ = ["Fit", "Job", "make_fit", "plan_jobs", "served_folds"]


@dataclass(frozen=True)
class Job:
    """One model to be fitted.

    Attributes
    ----------
    fold
        The fold whose past is learned from.
    horizon
        Sessions of the label.
    asofs
        The dates it serves.
    predict
        Rows of the matrix to predict (u32): every ticker with a bar at one of them.
    training_rows
        How many rows there are to learn from.
    names
        Median number of names on the dates that are learned from; 0 without any.
    """

    fold: str
    horizon: int
    asofs: tuple[date, ...]
    predict: np.ndarray
    training_rows: int
    names: float


@dataclass(frozen=True)
class Fit:
    """A job with what it learns from: `rows` of the matrix (u32), `target` and `weight` (f32)."""

    job: Job
    rows: np.ndarray
    target: np.ndarray
    weight: np.ndarray


def served_folds(
    asofs: Sequence[date], refit: Literal["monthly", "yearly"]
) -> dict[str, list[date]]:
    """Training fold → asofs it serves: each month its own or, `yearly`, January's for the year."""
    folds: dict[str, list[date]] = {}
    for asof in sorted(asofs):
        fold = f"{asof:%Y}-01" if refit == "yearly" else f"{asof:%Y-%m}"
        folds.setdefault(fold, []).append(asof)
    return folds


def plan_jobs(
    data: TrainingSet,
    asofs: Sequence[date],
    horizons: Sequence[int],
    *,
    calendar: TradingCalendar,
    embargo_sessions: int,
    refit: Literal["monthly", "yearly"],
) -> list[Job]:
    """A job for each training fold and horizon, sorted so."""
    labels = {h: data.labels.filter(pl.col("horizon") == h) for h in horizons}
    jobs = []
    for fold, served in served_folds(asofs, refit).items():
        predict = data.keys.filter(pl.col("asof").is_in(served))["row"].to_numpy()
        for horizon in horizons:
            known = training_rows(
                labels[horizon], fold, calendar, embargo_sessions=embargo_sessions
            )
            names = known.group_by("asof").len()["len"].median()
            median = float(names) if isinstance(names, (int, float)) else 0.0
            jobs.append(Job(fold, horizon, tuple(served), predict, known.height, median))
    return jobs


def make_fit(
    data: TrainingSet,
    job: Job,
    *,
    calendar: TradingCalendar,
    embargo_sessions: int,
    half_life_sessions: float,
) -> Fit:
    """A job with its training rows, weighed by age."""
    labels = data.labels.filter(pl.col("horizon") == job.horizon)
    known = training_rows(labels, job.fold, calendar, embargo_sessions=embargo_sessions)
    first = fold_first_session(job.fold, calendar)
    return Fit(
        job=job,
        rows=known["row"].to_numpy(),
        target=known["label"].to_numpy(),
        weight=_decay(known["asof"], first, calendar, half_life_sessions),
    )


def _decay(
    asofs: pl.Series, first: date, calendar: TradingCalendar, half_life: float
) -> np.ndarray:
    """½^(age/half-life), age in sessions before the fold's first."""
    if asofs.is_empty():
        return np.empty(0, dtype=np.float32)
    sessions = np.asarray(calendar.sessions(asofs[0], first), dtype="datetime64[D]")
    age = len(sessions) - 1 - np.searchsorted(sessions, asofs.to_numpy())
    return (0.5 ** (age / half_life)).astype(np.float32)

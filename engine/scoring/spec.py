"""The forecaster that a configuration names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from engine.config.settings import ModelSettings, ScoringSettings
from engine.scoring.factors import FACTORS, FactorSpec
from engine.scoring.forecaster import ForecasterSpec
from engine.scoring.kronos_forecaster import KronosSpec
from engine.scoring.scores_file import PREFIX

__all__ = ["TrainingPeriod", "forecaster_spec", "training_period"]


@dataclass(frozen=True)
class TrainingPeriod:
    """What dates a forecaster may have learned from.

    `known` has an `until`, the last date used for training or selection; `none` means nothing
    was trained; `unknown` means nobody says, so no result counts as out of sample.
    """

    kind: Literal["known", "none", "unknown"]
    until: date | None = None


def forecaster_spec(model: ModelSettings, scoring: ScoringSettings) -> ForecasterSpec:
    """A factor by its name, otherwise a Kronos checkpoint. Raises UsageError."""
    if model.name in FACTORS:
        return FactorSpec(model.name)  # type: ignore[arg-type]
    return KronosSpec.from_settings(model, scoring)


def training_period(model: ModelSettings) -> TrainingPeriod:
    """`model.trained_until` if set, else what the checkpoint's card says. Raises UsageError."""
    if model.trained_until:
        return TrainingPeriod("known", model.trained_until)
    if model.name in FACTORS:
        return TrainingPeriod("none")
    if model.name.startswith(PREFIX):
        return TrainingPeriod("unknown")
    from kronos import checkpoint_info

    until = checkpoint_info(model.name, model.tokenizer, revision=model.revision).trained_until
    return TrainingPeriod("known", until) if until else TrainingPeriod("unknown")

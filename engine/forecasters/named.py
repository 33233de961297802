"""The forecaster that a configuration names."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date
from typing import Literal

from engine.config.settings import ModelSettings, ScoringSettings
from engine.decisions.scores_file import PREFIX
from engine.forecasters.forecaster import ForecasterSpec
from engine.forecasters.kronos import KronosSpec
from engine.forecasters.rules import FACTORS, FactorSpec

__all__ = ["TrainingPeriod", "forecaster_spec", "training_period"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingPeriod:
    """What dates a forecaster may have learned from.

    `known` has an `until`, the last date used for training or selection; `none` means nothing
    was trained, or, as LightGBM under the run's own folds, on nothing that a judged date could
    remember; `unknown` means nobody says, so no result counts as out of sample.
    """

    kind: Literal["known", "none", "unknown"]
    until: date | None = None


def forecaster_spec(model: ModelSettings, scoring: ScoringSettings) -> ForecasterSpec:
    """A factor by its name, otherwise a Kronos checkpoint. Raises UsageError."""
    if model.name in FACTORS:
        return FactorSpec(model.name)  # type: ignore[arg-type]
    return KronosSpec.from_settings(model, scoring)


def training_period(model: ModelSettings) -> TrainingPeriod:
    """The later of `model.trained_until` and what the checkpoint's card says. Raises UsageError.

    The setting may add to what a card admits, never take from it.
    """
    if model.name in (*FACTORS, "lightgbm"):
        known, otherwise = None, TrainingPeriod("none")
    elif model.name.startswith(PREFIX):
        known, otherwise = None, TrainingPeriod("unknown")
    else:
        known, otherwise = _card(model), TrainingPeriod("unknown")
    if known and model.trained_until and model.trained_until < known:
        log.warning(
            "model.trained_until %s is before what the model's card says; %s is used",
            model.trained_until,
            known,
        )
    dates = [day for day in (known, model.trained_until) if day]
    return TrainingPeriod("known", max(dates)) if dates else otherwise


def _card(model: ModelSettings) -> date | None:
    from kronos import checkpoint_info

    return checkpoint_info(model.name, model.tokenizer, revision=model.revision).trained_until

"""What a model name means: the one place that reads `model.name`.

momentum, reversal, persistence   a rule on the window's closes; nothing is loaded
lightgbm                          fitted in the run itself, fold by fold (`engine.baselines`)
scores:FILE                       scores made elsewhere; nothing is scored
anything else                     a Kronos checkpoint: shipped, of the Hub, or a local folder
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from engine.config.settings import ModelSettings, ScoringSettings
from engine.forecasters.forecaster import ForecasterSpec
from engine.forecasters.kronos import KronosSpec
from engine.forecasters.rules import RULES, RuleSpec

__all__ = [
    "LIGHTGBM",
    "NamedModel",
    "TrainingPeriod",
    "forecaster_spec",
    "named_model",
    "samples_paths",
    "training_period",
]

log = logging.getLogger(__name__)
LIGHTGBM = "lightgbm"
_SCORES = "scores:"


@dataclass(frozen=True)
class NamedModel:
    """A model name and what it stands for.

    Attributes
    ----------
    name
        As written in `model.name`.
    kind
        ``rule``, ``checkpoint``, ``fitted`` (LightGBM) or ``scores`` (a file).
    """

    name: str
    kind: Literal["rule", "checkpoint", "fitted", "scores"]

    @property
    def scores_path(self) -> Path:
        """The file of ``scores:FILE``."""
        return Path(self.name.removeprefix(_SCORES)).expanduser()

    @property
    def is_light(self) -> bool:
        """Whether nothing heavy is loaded or fitted for a date's scores."""
        return self.kind in ("rule", "scores")

    @property
    def predicts_bars(self) -> bool:
        """Whether open, high and low are predicted beside the close."""
        return self.kind == "checkpoint"


def named_model(name: str) -> NamedModel:
    """What `name` stands for. Whether it exists is not looked at."""
    if name in RULES:
        return NamedModel(name, "rule")
    if name == LIGHTGBM:
        return NamedModel(name, "fitted")
    return NamedModel(name, "scores" if name.startswith(_SCORES) else "checkpoint")


def samples_paths(model: ModelSettings, scoring: ScoringSettings) -> bool:
    """Whether scores carry the dispersion of several sampled paths; a file's may do."""
    kind = named_model(model.name).kind
    drawn = scoring.sampling.temperature > 0 and scoring.sampling.top_k != 1
    return kind == "scores" or (kind == "checkpoint" and drawn and scoring.sampling.paths > 1)


def forecaster_spec(model: ModelSettings, scoring: ScoringSettings) -> ForecasterSpec | None:
    """How actors build the forecaster; None where the model takes no windows.

    Raises UsageError for a checkpoint that cannot be found or does not fit the settings.
    """
    named = named_model(model.name)
    if named.kind == "rule":
        return RuleSpec(named.name)  # type: ignore[arg-type]
    return KronosSpec.from_settings(model, scoring) if named.kind == "checkpoint" else None


@dataclass(frozen=True)
class TrainingPeriod:
    """What dates a forecaster may have learned from.

    `known` has an `until`, the last date used for training or selection; `none` means nothing
    was trained, or, as LightGBM under the run's own folds, on nothing that a judged date could
    remember; `unknown` means nobody says, so no result counts as out of sample.
    """

    kind: Literal["known", "none", "unknown"]
    until: date | None = None


def training_period(model: ModelSettings) -> TrainingPeriod:
    """The later of `model.trained_until` and what the checkpoint's card says. Raises UsageError.

    The setting may add to what a card admits, never take from it.
    """
    kind = named_model(model.name).kind
    known = _card(model) if kind == "checkpoint" else None
    if known and model.trained_until and model.trained_until < known:
        log.warning(
            "model.trained_until %s is before what the model's card says; %s is used",
            model.trained_until,
            known,
        )
    dates = [day for day in (known, model.trained_until) if day]
    if dates:
        return TrainingPeriod("known", max(dates))
    return TrainingPeriod("none" if kind in ("rule", "fitted") else "unknown")


def _card(model: ModelSettings) -> date | None:
    from kronos import checkpoint_info

    return checkpoint_info(model.name, model.tokenizer, revision=model.revision).trained_until

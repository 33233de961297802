"""What the driver hands to Ray Train's workers: a stage, and what all stages have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.train.journal import CheckpointStore
from engine.train.prepare import Prepared, Split
from engine.train.settings import StageSettings, TrainSettings

__all__ = ["StagePlan", "WorkerConfig", "plan_stage"]


@dataclass(frozen=True)
class StagePlan:
    """One stage as the driver hands it to the workers.

    Attributes
    ----------
    name
        tokenizer or model.
    shape
        Constructor arguments of the network.
    base
        Folder of the weights to start from, or None.
    frozen
        For the model stage, the folder of the tokenizer whose tokens it learns.
    recipe
        Fields of `kronos.training.Recipe`.
    objective
        Further arguments of the model's objective.
    identity
        Plain values by dotted key that decide the weights; checkpoints carry them.
    """

    name: str
    shape: dict[str, Any]
    base: Path | None
    frozen: Path | None
    recipe: dict[str, Any]
    objective: dict[str, Any]
    identity: dict[str, Any]


@dataclass(frozen=True)
class WorkerConfig:
    """Everything a worker needs; `bars` come from Ray's object store, `queue` takes messages."""

    folder: Path
    stage: StagePlan
    settings: TrainSettings
    split: Split
    bars: Any
    queue: Any

    def store(self) -> CheckpointStore:
        """The checkpoints of the stage."""
        folder = self.folder / "checkpoints" / self.stage.name
        keep = self.settings.checkpoint.keep
        return CheckpointStore(folder, self.stage.identity, keep=keep)


def plan_stage(name: str, settings: TrainSettings, prepared: Prepared, folder: Path) -> StagePlan:
    from kronos.weights.folder import checkpoint_sha256

    stage: StageSettings = getattr(settings, f"{name}_stage")
    recipe = stage.model_dump(
        exclude={"beta1", "beta2", "conditioning", "dependency_rope", "context_weight"}
    )
    recipe["betas"] = (stage.beta1, stage.beta2)
    base = getattr(prepared.networks, f"{name}_base")
    shape = getattr(prepared.networks, name)
    objective: dict[str, Any] = {}
    frozen = None
    if name == "model":
        second = settings.model_stage
        frozen = (folder / "tokenizer").resolve()
        objective = {
            "conditioning": second.conditioning,
            "context_weight": second.context_weight,
            "rotate": second.dependency_rope == "trained",
        }
    split = prepared.split
    identity = {
        **{f"{name}.{key}": value for key, value in shape.items()},
        **{f"{name}_stage.{key}": _plain(value) for key, value in (recipe | objective).items()},
        **{f"windows.{key}": _plain(value) for key, value in settings.windows.arguments().items()},
        f"{name}.base": base.sha256 if base else None,
        "tokenizer": checkpoint_sha256(frozen) if frozen else None,
        "split.training": str(split.training),
        "split.validation": str(split.validation),
        "validation.windows": settings.validation.windows,
        "run.seed": settings.run.seed,
        "workers.precision": settings.workers.precision,
        "data": prepared.bars.sha256(),
    }
    return StagePlan(
        name, shape, base.folder if base else None, frozen, recipe, objective, identity
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

"""What the driver hands to Ray Train's workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.train.checkpoints import CheckpointStore

__all__ = ["StagePlan", "WorkerConfig"]


@dataclass(frozen=True)
class StagePlan:
    """One stage as the driver hands it to the workers.

    Attributes:
        name: tokenizer or model.
        shape: constructor arguments of the network.
        base: folder of the weights to start from, or None.
        frozen: for the model stage, the folder of the tokenizer whose tokens it learns.
        recipe: fields of `kronos.training.Recipe`.
        objective: further arguments of the model's objective.
        identity: plain values by dotted key that decide the weights; checkpoints carry them.
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
    """Everything a worker needs; bars come from Ray's object store."""

    folder: Path
    bars: Any
    training: tuple[Any, Any]
    validation: tuple[Any, Any]
    windows: dict[str, Any]
    validation_windows: int
    stage: StagePlan
    seed: int
    precision: str
    cpus: int
    checkpoint_every: int
    checkpoint_keep: int
    queue: Any

    def store(self) -> CheckpointStore:
        folder = self.folder / "checkpoints" / self.stage.name
        return CheckpointStore(folder, self.stage.identity, keep=self.checkpoint_keep)

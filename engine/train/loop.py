"""What every Ray Train worker runs.

1. `build_stage` makes the network, its loss, optimiser and sampler, and wraps it for DDP.
2. The newest whole checkpoint of the run folder, if any, is restored on every worker.
3. Steps follow; rank 0 looks at the validation windows, logs, and writes checkpoints. What it
   decides (go on, end early, give up because the disk is full) it tells the others, so that no
   worker waits for one that has left.
4. The best weights go to the run folder.

The run folder must be the same for all workers: a shared file system where they are on several
machines.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from engine.files import copy_file
from engine.train.build import Validate, build_stage
from engine.train.plan import WorkerConfig

if TYPE_CHECKING:
    from engine.train.metrics import MetricsLog
    from kronos.training import Stage, TrainingBars

__all__ = ["train_worker"]

LOG_EVERY = 10
Tell = Callable[[dict[str, Any]], None]


def train_worker(config: dict[str, Any]) -> dict[str, Any]:
    """Train one stage. Returns {"metrics": …} of the best weights, or {"error": one line}."""
    import ray
    import torch
    from ray import train

    worker: WorkerConfig = config["worker"]
    torch.set_num_threads(worker.cpus)
    context = train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    bars: TrainingBars = ray.get(worker.bars)
    tell: Tell = worker.queue.put if rank == 0 else lambda message: None
    try:
        stage, validation = build_stage(worker, bars, rank, world)
        state, since = worker.store().latest(), {}
        if state is not None:
            stage.restore(state)
            since = state["since"]
    except (UsageError, ValueError) as error:  # the same on every worker: all leave together
        return {"error": str(error)}
    return _Loop(worker, stage, validation, tell, rank, world, since).run()


class _Loop:
    """Steps, looks, log and checkpoints of one worker."""

    def __init__(
        self,
        worker: WorkerConfig,
        stage: Stage,
        validate: Validate,
        tell: Tell,
        rank: int,
        world: int,
        since: dict[str, list[float]],
    ) -> None:
        self.worker, self.stage, self.validate, self.tell = worker, stage, validate, tell
        self.rank, self.world = rank, world
        self.store = worker.store()
        self.log: MetricsLog | None = None
        self.since = since  # figures of the steps since the last line of the log
        self.started, self.resumed = time.monotonic(), stage.steps

    def run(self) -> dict[str, Any]:
        from engine.train.metrics import MetricsLog

        stage = self.stage
        error = self._agree(self._guarded(self._open, MetricsLog))
        if not stage.steps and not error:
            error = self._agree(self._guarded(self._look))
        while not error and not stage.finished:
            figures = stage.step()
            error = self._agree(self._guarded(self._after_step, figures), when=self._due())
        if not error:
            error = self._agree(self._guarded(self._finish))
        if self.log is not None:
            self.log.close()
        if error:
            return {"error": error}
        return {"metrics": stage.best.metrics, "steps": stage.steps}

    def _open(self, log: Callable[[Path, str, int], MetricsLog]) -> None:
        self.log = log(self.worker.folder, self.stage.name, self.stage.steps)

    def _due(self) -> bool:
        """Whether rank 0 may have had something to decide: every worker asks the same."""
        step, recipe = self.stage.steps, self.stage.recipe
        every = (LOG_EVERY, recipe.evaluate_every, self.worker.checkpoint_every)
        return step >= recipe.steps or any(step % n == 0 for n in every)

    def _after_step(self, figures: dict[str, float]) -> None:
        """Rank 0: log, look, write a checkpoint. Raises OSError or ValueError."""
        stage = self.stage
        step, last = stage.steps, stage.steps >= stage.recipe.steps
        for name, value in figures.items():
            self.since.setdefault(name, []).append(value)
        if self._due() and not all(map(math.isfinite, self.since["loss"])):
            raise ValueError(
                f"{stage.name}: the loss is no number any more at step {step}; lower its "
                "learning_rate or its max_grad_norm"
            )
        if step % LOG_EVERY == 0 or last:
            self._tell_training()
        if step % stage.recipe.evaluate_every == 0 or last:
            self._look()
        if step % self.worker.checkpoint_every == 0 or last:
            self.store.save(step, stage.state() | {"since": self.since})

    def _tell_training(self) -> None:
        assert self.log is not None
        means = {name: sum(values) / len(values) for name, values in self.since.items()}
        self.since = {}
        self.log.write("training", self.stage.steps, means)
        elapsed = max(time.monotonic() - self.started, 1e-9)
        done = (self.stage.steps - self.resumed) * self.stage.recipe.batch
        self._post({**means, "windows_per_second": done / elapsed})

    def _look(self) -> None:
        assert self.log is not None
        network: Any = self.stage.trained
        metrics = self.validate(network.eval())
        self.stage.look(metrics)
        self.log.write("validation", self.stage.steps, metrics)
        self._post({f"validation_{name}": value for name, value in metrics.items()})

    def _post(self, figures: dict[str, float]) -> None:
        self.tell({"stage": self.stage.name, "step": self.stage.steps, "figures": figures})

    def _finish(self) -> None:
        """The best weights, whole, in the run folder."""
        import tempfile

        target = self.worker.folder / self.stage.name
        target.mkdir(parents=True, exist_ok=True)
        network: Any = self.stage.load_best()
        with tempfile.TemporaryDirectory(dir=self.worker.folder) as beside:
            network.save_pretrained(Path(beside))
            for name in ("config.json", "model.safetensors"):
                copy_file(Path(beside) / name, target / name)

    def _guarded(self, action: Callable[..., None], *arguments: Any) -> str | None:
        """Rank 0 acts; what goes wrong with files or numbers becomes a line for everybody."""
        if self.rank != 0:
            return None
        try:
            action(*arguments)
        except (OSError, ValueError) as error:
            return _one_line(error, self.worker.folder)
        return None

    def _agree(self, error: str | None, *, when: bool = True) -> str | None:
        """Rank 0's verdict on every worker, and its count of looks without improvement."""
        if self.world == 1 or not when:
            return error
        import torch.distributed as dist

        said: list[Any] = [error, self.stage.best.looks_since]
        dist.broadcast_object_list(said, src=0)
        self.stage.best.looks_since = said[1]
        return said[0]


def _one_line(error: Exception, folder: Path) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        return (
            f"{folder}: cannot be written ({text}); free some space and run the same command "
            "again: it goes on from the last checkpoint"
        )
    return text

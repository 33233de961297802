"""What every Ray Train worker runs.

1. `_build_stage` makes the network, its loss, optimiser and sampler, and wraps it for DDP.
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
from engine.train.journal import MetricsLog
from engine.train.plan import StagePlan, WorkerConfig
from engine.train.prepare import cut_windows

if TYPE_CHECKING:
    import torch

    from kronos.training import Batch, Stage, TrainingBars

__all__ = ["train_worker"]

LOG_EVERY = 10
Tell = Callable[[dict[str, Any]], None]
Validate = Callable[[Any], dict[str, float]]


def train_worker(config: dict[str, Any]) -> dict[str, Any]:
    """Train one stage. Returns {"metrics": …} of the best weights, or {"error": one line}."""
    import ray
    import torch
    from ray import train

    worker: WorkerConfig = config["worker"]
    torch.set_num_threads(worker.settings.workers.cpus)
    context = train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    bars: TrainingBars = ray.get(worker.bars)
    tell: Tell = worker.queue.put if rank == 0 else lambda message: None
    try:
        stage, validation = _build_stage(worker, bars, rank, world)
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
        stage = self.stage
        error = self._agree(self._guarded(self._open))
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

    def _open(self) -> None:
        self.log = MetricsLog(self.worker.folder, self.stage.name, self.stage.steps)

    def _due(self) -> bool:
        """Whether rank 0 may have had something to decide: every worker asks the same."""
        step, recipe = self.stage.steps, self.stage.recipe
        every = (LOG_EVERY, recipe.evaluate_every, self.worker.settings.checkpoint.every)
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
        if step % self.worker.settings.checkpoint.every == 0 or last:
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


def _build_stage(
    worker: WorkerConfig, bars: TrainingBars, rank: int, world: int
) -> tuple[Stage, Validate]:
    """The stage on this worker's device, and what looks at its network on validation windows."""
    import torch
    from ray.train.torch import get_device, prepare_model

    from kronos.training import Recipe, Stage, WindowRules, WindowSampler, validation_batches

    plan, settings, device = worker.stage, worker.settings, get_device()
    rules, recipe = WindowRules(**settings.windows.arguments()), Recipe(**plan.recipe)
    held = cut_windows(bars, rules, worker.split, "validation")
    batches = validation_batches(held, rules, settings.validation.windows)
    torch.manual_seed(settings.run.seed)
    objective = _objective(plan, device, world)
    sampler = WindowSampler(
        cut_windows(bars, rules, worker.split, "training"),
        batch=recipe.batch,
        epoch_windows=recipe.epoch_windows,
        context=rules.context,
        seed=settings.run.seed,
        stream=1 if plan.name == "tokenizer" else 2,
        rank=rank,
        world=world,
    )
    stage = Stage(
        plan.name,
        objective,
        recipe,
        sampler,
        seed=settings.run.seed,
        wrapped=prepare_model(objective) if world > 1 else None,
        autocast=_autocast(settings.workers.precision, device),
    )
    return stage, _evaluation(plan, objective, batches)


def _objective(plan: StagePlan, device: torch.device, world: int) -> Any:
    from kronos import Kronos, KronosTokenizer
    from kronos.training import ModelObjective, TokenizerObjective, share_codebook

    kind: Any = KronosTokenizer if plan.name == "tokenizer" else Kronos
    network = kind(**plan.shape) if plan.base is None else kind.from_folder(plan.base)
    network.to(device)
    if plan.name == "tokenizer":
        if world > 1:
            share_codebook(network, _mean_over_workers)
        return TokenizerObjective(network)
    assert plan.frozen is not None
    frozen = KronosTokenizer.from_folder(plan.frozen).to(device)
    return ModelObjective(network, frozen, **plan.objective)


def _evaluation(plan: StagePlan, objective: Any, batches: list[Batch]) -> Validate:
    from kronos.training import evaluate_model, evaluate_tokenizer

    if plan.name == "tokenizer":
        return lambda network: evaluate_tokenizer(network, batches)
    tokenizer = objective.encode.tokenizer
    return lambda network: evaluate_model(network, tokenizer, batches, rotate=objective.rotate)


def _autocast(precision: str, device: torch.device) -> str | None:
    """bfloat16 where asked for; with auto, on GPUs with units for it (Ampere and later). On CPUs it
    was measured at half the speed of float32."""
    import torch

    if precision == "auto":
        good = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8
        return "bfloat16" if good else None
    return "bfloat16" if precision == "bfloat16" else None


def _mean_over_workers(value: torch.Tensor) -> torch.Tensor:
    import torch.distributed as dist

    total = value.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()

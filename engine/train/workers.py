"""Starting Ray Train's workers for one stage, listening to them, and showing how far they are."""

from __future__ import annotations

import os
import threading
from typing import Any

from rich.console import Console

from engine.errors import UsageError
from engine.progress import WorkProgress
from engine.train.loop import train_worker
from engine.train.plan import WorkerConfig

__all__ = ["run_stage"]

LISTEN_S = 0.5


def run_stage(worker: WorkerConfig, console: Console) -> dict[str, Any]:
    """Train one stage inside a running Ray cluster; returns what `train_worker` returns.

    A dead worker makes Ray Train start all of them again, at most `max_failures` times; they go on
    from the last checkpoint in the run folder. Raises UsageError for what a user can mend and
    RuntimeError when the workers died too often.
    """
    os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_ACTOR_RECONCILIATION", "0")
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    workers = worker.settings.workers
    resources = {"CPU": float(workers.cpus)} | ({"GPU": 1.0} if workers.gpus else {})
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"worker": worker},
        scaling_config=ScalingConfig(
            num_workers=workers.count,
            use_gpu=bool(workers.gpus),
            resources_per_worker=resources,
        ),
        run_config=RunConfig(
            name=worker.stage.name,
            storage_path=str((worker.folder / ".ray").resolve()),
            failure_config=FailureConfig(max_failures=workers.max_failures),
        ),
    )
    try:
        with _Watch(console, worker):
            result = trainer.fit()
    except TrainingFailedError as error:
        raise RuntimeError(
            f"{worker.stage.name}: the workers failed more than {workers.max_failures} times "
            f"({_cause(error)}); the same command goes on from the last checkpoint"
        ) from error
    done: dict[str, Any] = result.return_value
    if "error" in done:
        raise UsageError(done["error"])
    return done


class _Watch:
    """Shows the workers' messages while a block runs: loss, codebook use, rate and time left."""

    def __init__(self, console: Console, worker: WorkerConfig) -> None:
        self._console, self._stage, self._queue = console, worker.stage, worker.queue
        self._figures: dict[str, float] = {}
        self._progress: WorkProgress | None = None
        self._from = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> None:
        self._console.print(f"{self._stage.name}: starting the workers", highlight=False)
        self._thread.start()

    def __exit__(self, kind: Any, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=10)
        if self._progress is not None:
            self._progress.__exit__(kind)

    def _listen(self) -> None:
        ended = False
        while not ended:
            ended = self._done.wait(LISTEN_S)
            for message in self._queue.get_nowait_batch(self._queue.qsize()):
                self._hear(message["step"], message["figures"])

    def _hear(self, step: int, figures: dict[str, float]) -> None:
        recipe = self._stage.recipe
        self._figures |= figures
        # Counted from the first step of these workers, so that rate and time left are theirs.
        if self._progress is None or step < self._from:
            self._from = step
        if self._progress is None:
            left = (recipe["steps"] - step) * recipe["batch"]
            self._progress = WorkProgress(self._console, self._what(), left, "windows")
            self._progress.__enter__()
        self._progress.update((step - self._from) * recipe["batch"], what=self._what())

    def _what(self) -> str:
        parts = [
            ("loss {:.4f}", "loss"),
            ("validation {:.4f}", "validation_loss"),
            ("codes in use {:.0%}", "validation_s1_used"),
            ("{:.0%}", "validation_s2_used"),
        ]
        known = self._figures
        said = [text.format(known[name]) for text, name in parts if name in known]
        since = f" from step {self._from}" if self._from else ""
        return f"{self._stage.name}{since}: {', '.join(said)}"


def _cause(error: Exception) -> str:
    """The last line of what a worker said."""
    failures = getattr(error, "worker_failures", None) or {}
    said = str(next(iter(failures.values()), error)).strip().splitlines()
    return said[-1].strip() if said else type(error).__name__

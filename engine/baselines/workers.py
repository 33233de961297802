"""Who does the fits: Ray tasks that share one matrix, or this process where that is faster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from engine.baselines.boosting import Fitted, boost
from engine.baselines.fits import Fit, Job
from engine.progress import WorkProgress
from engine.scoring.cluster import ray_cluster

__all__ = ["fit_all"]

_WORTH_RAY = 1_000_000
"""Training rows, summed over fits, that take about as long as Ray takes to start."""
_IN_FLIGHT = 2


def fit_all(
    matrix: np.ndarray,
    names: tuple[str, ...],
    fits: Iterable[Fit],
    *,
    jobs: Sequence[Job],
    parameters: dict[str, Any],
    trees: int,
    ray_address: str | None,
    commit: Callable[[Fitted], None],
    console: Console,
) -> None:
    """Hand every finished fit to `commit`, in any order; the fits themselves do not depend on it.

    `fits` are those of `jobs`, made when their turn comes: all at once could fill the memory.
    """
    if not jobs:
        return
    cores = os.cpu_count() or 1
    work = sum(job.training_rows for job in jobs)
    alone = ray_address is None and (cores == 1 or work < _WORTH_RAY)
    with WorkProgress(console, "LightGBM baseline", len(jobs), "fits") as progress:
        results = (
            (boost(matrix, names, fit, parameters, trees) for fit in fits)
            if alone
            else _on_ray(matrix, names, fits, parameters, trees, min(cores, len(jobs)), ray_address)
        )
        for done, fitted in enumerate(results, start=1):
            commit(fitted)
            progress.update(done)


def _on_ray(
    matrix: np.ndarray,
    names: tuple[str, ...],
    fits: Iterable[Fit],
    parameters: dict[str, Any],
    trees: int,
    cores: int,
    address: str | None,
) -> Iterator[Fitted]:
    with ray_cluster(address, cpus=cores, object_bytes=matrix.nbytes):
        import ray

        shared = ray.put(matrix)
        slots = max(cores, int(ray.cluster_resources().get("CPU", 1)))
        task = ray.remote(num_cpus=1, max_retries=3)(boost)
        running: list[Any] = []
        for fit in fits:
            running.append(task.remote(shared, names, fit, parameters, trees))
            if len(running) >= _IN_FLIGHT * slots:
                ready, running = ray.wait(running, num_returns=1)
                yield ray.get(ready[0])
        while running:
            ready, running = ray.wait(running, num_returns=1)
            yield ray.get(ready[0])

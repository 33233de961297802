"""How fits are made and kept.

1. `boost` is one LightGBM fit: the same bits on every machine of a kind, whoever computes it.
2. `fit_all` has them done by Ray tasks that share one matrix, or here where that is faster.
3. `FitStore` keeps one file a fit, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console

from engine.baselines.fits import Fit, Job
from engine.config.settings import LightGBMSettings
from engine.files import replace_file
from engine.progress import WorkProgress
from engine.scoring.cluster import ray_cluster

__all__ = ["FitStore", "Fitted", "boost", "fit_all", "lightgbm_parameters"]

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


@dataclass(frozen=True)
class Fitted:
    """Predictions for `job.predict` (f64, in its order) and the gain of each feature, summing to 1
    (0 everywhere where no tree found a split)."""

    job: Job
    prediction: np.ndarray
    gain: np.ndarray


def lightgbm_parameters(settings: LightGBMSettings, seed: int) -> dict[str, Any]:
    """Parameters of `lightgbm.train`: squared error on the label's rank, one thread."""
    tuned = ("learning_rate", "num_leaves", "min_data_in_leaf", "feature_fraction",
             "bagging_fraction", "bagging_freq", "lambda_l2")  # fmt: skip
    return {
        "objective": "regression",
        **{name: getattr(settings, name) for name in tuned},
        "seed": seed % 2**31,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }


def boost(
    matrix: np.ndarray, names: Sequence[str], fit: Fit, parameters: dict[str, Any], trees: int
) -> Fitted:
    """Train on the fit's rows of `matrix` (f32 [rows, features]) and predict its others."""
    import lightgbm

    data = lightgbm.Dataset(
        matrix[fit.rows],
        label=fit.target,
        weight=fit.weight,
        feature_name=list(names),
        params=parameters,
        free_raw_data=True,
    )
    model = lightgbm.train(parameters, data, num_boost_round=trees)
    prediction = np.asarray(model.predict(matrix[fit.job.predict], num_threads=1), dtype=np.float64)
    gain = model.feature_importance("gain").astype(np.float64)
    return Fitted(fit.job, prediction, gain / (gain.sum() or 1.0))


log = logging.getLogger(__name__)
_FACTS = "fit"


class FitStore:
    """The fits of one fingerprint: everything that changes a prediction, hashed.

    A file's name carries the fingerprint, the fold, the horizon and a hash of the dates predicted;
    one that cannot be read or holds another number of rows is fitted again.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self._folder = folder
        text = json.dumps(identity, sort_keys=True, default=str)
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()

    def commit(self, fitted: Fitted) -> None:
        """Write a finished fit. Raises OSError."""
        facts = {"fingerprint": self.fingerprint, "gain": fitted.gain.tolist()}
        frame = pl.DataFrame({"prediction": fitted.prediction})
        replace_file(
            self._path(fitted.job),
            lambda part: frame.write_parquet(part, metadata={_FACTS: json.dumps(facts)}),
        )

    def read(self, job: Job) -> Fitted | None:
        """The finished fit, or None where it must be computed."""
        path = self._path(job)
        if not path.is_file():
            return None
        try:
            facts = json.loads(pl.read_parquet_metadata(path)[_FACTS])
            prediction = pl.read_parquet(path)["prediction"].to_numpy()
        except (pl.exceptions.PolarsError, OSError, ValueError, KeyError) as error:
            log.warning("%s is damaged and will be fitted again: %s", path.name, error)
            return None
        if facts["fingerprint"] != self.fingerprint or len(prediction) != len(job.predict):
            return None
        return Fitted(job, prediction, np.asarray(facts["gain"]))

    def _path(self, job: Job) -> Path:
        dates = hashlib.sha256(",".join(map(str, job.asofs)).encode()).hexdigest()[:8]
        name = f"{self.fingerprint[:16]}-{job.fold}-{job.horizon}-{dates}.parquet"
        return self._folder / name

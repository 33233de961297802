"""Kronos behind the forecaster interface."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from engine.config.settings import ModelSettings, SamplingSettings, ScoringSettings
from engine.errors import UsageError
from engine.forecasters.checkpoint_files import CheckpointFiles
from engine.forecasters.forecaster import Forecaster, WindowPanel
from engine.forecasters.statistics import step_statistics

if TYPE_CHECKING:
    from kronos import KronosPredictor

__all__ = ["KronosSpec"]

CLIP = 5.0
OPEN_HIGH_LOW = 3  # the first columns of a forecast path


@dataclass(frozen=True)
class KronosSpec:
    """A checkpoint, its device and how it samples.

    `kernel` is the fast profile's, chosen once for the run (None: exact).
    """

    checkpoint: CheckpointFiles
    device: str
    profile: Literal["exact", "fast"]
    kernel: str | None
    repair: bool
    max_context: int
    dependency_rope: Literal["exact", "trained"]
    sampling: SamplingSettings
    batch_size: int

    @classmethod
    def from_settings(cls, model: ModelSettings, scoring: ScoringSettings) -> KronosSpec:
        """Find the checkpoint and describe it. Raises UsageError naming what is missing."""
        from kronos import CheckpointError, checkpoint_info

        try:
            info = checkpoint_info(
                model.name, model.tokenizer, revision=model.revision, max_context=model.max_context
            )
        except CheckpointError as error:
            raise UsageError(f"model.name: {error}") from None
        if max(scoring.horizons) > info.max_context:
            raise UsageError(
                f"scoring.horizons: {max(scoring.horizons)} steps are more than the model's "
                f"context of {info.max_context} bars"
            )
        device = _device(model.device, scoring)
        return cls(
            checkpoint=CheckpointFiles(
                folders={"model": info.model_folder, "tokenizer": info.tokenizer_folder},
                sha256={"model": info.model_sha256, "tokenizer": info.tokenizer_sha256},
                travels=cluster_address(scoring.ray_address) is not None,
            ),
            device=device,
            profile=model.profile,
            kernel=_kernel(model, device, here=cluster_address(scoring.ray_address) is None),
            repair=model.repair,
            max_context=info.max_context,
            dependency_rope=model.dependency_rope,
            sampling=scoring.sampling,
            batch_size=scoring.batch_size,
        )

    def identity(self) -> dict[str, Any]:
        """Hashes, sampling, arithmetic: everything of the model that changes a forecast."""
        return {
            "forecaster": "kronos",
            "model_sha256": self.checkpoint.sha256["model"],
            "tokenizer_sha256": self.checkpoint.sha256["tokenizer"],
            "sampling": self.sampling.model_dump(),
            "profile": self.profile,
            "kernel": self.kernel,
            "compile": False,  # always eager; earlier fingerprints name it too
            "repair": self.repair,
            "dtype": "float32",
            "device_kind": self.device.split(":")[0],
            "max_context": self.max_context,
            "clip": CLIP,
            "dependency_rope": self.dependency_rope,
            "torch": metadata.version("torch"),
        }

    def nested_steps(self, lookback: int) -> int | None:
        """As far as the context reaches: beyond it a longer generation is decoded with less of its
        window, as published implementations do, and its first bars are others."""
        return self.max_context - lookback

    def build(self, threads: int) -> Forecaster:
        """Load the weights onto the device, in eager mode, with the slot's threads.

        Raises ValueError or OSError if this machine has not the checkpoint that the driver saw.
        """
        import torch

        from kronos import load_predictor

        torch.set_num_threads(threads)
        with self.checkpoint.here() as folders:
            predictor = load_predictor(
                folders["model"],
                folders["tokenizer"],
                device=self.device,
                max_context=self.max_context,
                clip=CLIP,
                dependency_rope=self.dependency_rope,
                profile=self.profile,
                kernel=self.kernel,
            )
        return _KronosForecaster(predictor, self.sampling, self.batch_size, repair=self.repair)


class _KronosForecaster:
    def __init__(
        self,
        predictor: KronosPredictor,
        sampling: SamplingSettings,
        batch_size: int,
        *,
        repair: bool,
    ) -> None:
        self._predictor = predictor
        self._sampling = sampling
        self._batch_size = batch_size
        self._repair = repair

    def score(self, panel: WindowPanel, asof: np.ndarray) -> pl.DataFrame:
        names = [f"{t} at {d}" for t, d in zip(panel.tickers, asof, strict=True)]
        forecast = self._predictor.forecast(
            panel.values,
            panel.stamps.astype("datetime64[ns]"),
            panel.future.astype("datetime64[ns]"),
            T=self._sampling.temperature,
            top_k=self._sampling.top_k,
            top_p=self._sampling.top_p,
            paths=self._sampling.paths,
            seeds=[int(seed) for seed in panel.seeds],
            batch_rows=self._batch_size,
            repair=self._repair,
            names=names,
        )
        assert forecast.paths is not None  # kept unless asked otherwise
        return step_statistics(
            panel.tickers,
            asof,
            forecast.last_close,
            forecast.close,
            forecast.paths[..., :OPEN_HIGH_LOW],
        )


def _kernel(model: ModelSettings, device: str, *, here: bool) -> str | None:
    """The fast profile's kernel, given or probed or remembered once and then the same on every
    actor: if each chose for itself, timing noise would mix kernels and so last bits.

    Raises UsageError for a given one that does not work: on this machine, if the actors are `here`,
    or on such a device; what the nodes of a cluster have, they say themselves.
    """
    if model.profile == "exact":
        return None
    from kronos import remembered_kernel

    remembered = remembered_kernel(device)
    if model.kernel not in ("auto", remembered):
        if here or not device.startswith("cpu"):
            from kronos import check_kernel

            try:
                check_kernel(model.kernel, device)
            except ValueError as error:
                raise UsageError(f"model.kernel: {error}") from None
        return model.kernel
    if remembered:  # the actors check that it computes right
        return remembered
    from kronos import choose_kernel

    return choose_kernel(device)


def _device(wanted: str, scoring: ScoringSettings) -> str:
    """`auto` settled by the driver, once for all actors: workers must not differ.

    Raises UsageError for a device that Ray would hide from the actors or that this machine lacks;
    what the nodes of a cluster have, only they know.
    """
    if wanted == "auto":
        wanted = "cuda" if scoring.gpus_per_actor > 0 else _device_without_ray_gpus()
    if wanted.startswith("cuda") and scoring.gpus_per_actor == 0:
        raise UsageError(
            "model.device: cuda needs scoring.gpus_per_actor above 0 (1, or a share of a GPU)"
        )
    if cluster_address(scoring.ray_address) is None and wanted != "cpu":
        from kronos.devices import resolve_device

        try:
            resolve_device(wanted)
        except ValueError as error:
            raise UsageError(f"model.device: {error}") from None
    return wanted


def cluster_address(configured: str | None) -> str | None:
    """The cluster that the run will join: the configured one, or that of a job Ray started."""
    return configured or os.environ.get("RAY_ADDRESS") or None


def _device_without_ray_gpus() -> str:
    if sys.platform != "darwin":
        return "cpu"
    import torch

    return "mps" if torch.backends.mps.is_available() else "cpu"

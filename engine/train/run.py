"""A training run: bars → tokenizer → model → validation → cards.

1. `prepare` reads bars, splits them and finds bases: everything that can be wrong is found here.
2. Each stage runs on Ray Train (`workers.run_stage`), taking up its last checkpoint.
3. `assess` measures the best weights: token tables, test span, RankIC of forecasts.
4. Cards, manifest and loss curves are written.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from engine.errors import UsageError
from engine.files import copy_file
from engine.run_folder import RunFolder, environment_facts
from engine.scoring.cluster import ray_cluster
from engine.train.assess import assess
from engine.train.cards import write_cards
from engine.train.display import StageDisplay
from engine.train.figures import draw_curves
from engine.train.metrics import read_metrics
from engine.train.networks import Networks
from engine.train.plan import StagePlan, WorkerConfig
from engine.train.prepare import Prepared, prepare
from engine.train.rank_ic import RankIC, forecast_rank_ic
from engine.train.record import manifest_content, training_facts
from engine.train.settings import StageSettings, TrainSettings
from engine.train.workers import run_stage

if TYPE_CHECKING:
    from kronos.training import TrainingBars

__all__ = ["STAGES", "Trained", "train"]

log = logging.getLogger(__name__)
STAGES = ("tokenizer", "model")


@dataclass(frozen=True)
class Trained:
    """A finished run: its folder, and what its manifest says."""

    folder: RunFolder
    manifest: dict[str, Any]


def train(settings: TrainSettings, console: Console, *, stages: Sequence[str] = STAGES) -> Trained:
    """Train `stages` and leave a folder that `from_pretrained` reads.

    A run that was broken off goes on from its last checkpoint. Raises UsageError for anything a
    user can mend.
    """
    prepared = prepare(settings)
    folder = RunFolder(settings.run.dir, settings.run.name)
    workers, environment = settings.workers, environment_facts()
    minutes: dict[str, float] = {}
    done: dict[str, dict[str, float]] = {}
    with folder.open():
        _tokenizer_for(stages, settings, prepared.networks, folder.path)
        folder.write_yaml("config.yaml", settings.model_dump(mode="json"))
        with ray_cluster(
            workers.ray_address,
            cpus=workers.count * workers.cpus,
            object_bytes=sum(a.nbytes for a in _arrays(prepared.bars)),
        ):
            shared = _share(prepared, settings, folder.path)
            for name in stages:
                began = time.perf_counter()
                plan = _plan(name, settings, prepared, folder.path)
                worker = dataclasses.replace(shared, stage=plan)
                worker.store().check()
                stage: StageSettings = getattr(settings, f"{name}_stage")
                with StageDisplay(console, name, stage.steps, stage.batch) as display:
                    result = run_stage(worker, workers, display.hear)
                done[name] = result["metrics"] | {"steps": float(result["steps"])}
                minutes[name] = (time.perf_counter() - began) / 60
                log.info("%s: best at step %d", name, int(done[name]["step"]))
            draw_curves(read_metrics(folder.path / "metrics.csv"), folder.path / "figures")
            ranks = _rank_ic(settings, prepared, folder.path, stages, console)
        measured = assess(folder.path, settings, prepared.bars, prepared.split, stages)
        facts = training_facts(settings, prepared, done, measured, ranks, minutes, environment)
        write_cards(folder.path, settings, prepared.networks, facts)
        manifest = manifest_content(settings, facts, prepared.market.drops)
        folder.write_json("manifest.json", manifest)
    return Trained(folder, manifest)


def _tokenizer_for(
    stages: Sequence[str], settings: TrainSettings, networks: Networks, folder: Path
) -> None:
    """The model stage alone needs a tokenizer: the run's own, or its base copied there."""
    if "tokenizer" in stages:
        return
    target = folder / "tokenizer"
    base = networks.tokenizer_base
    if base is not None:
        for name in ("config.json", "model.safetensors", "README.md"):
            source = base.folder / name
            if source.is_file():
                copy_file(source, target / name)
    elif not (target / "model.safetensors").is_file():
        raise UsageError(
            f"--stage model: {target} holds no tokenizer; train it first (--stage tokenizer) or "
            "name one (--tokenizer.base)"
        )


def _arrays(bars: TrainingBars) -> tuple[Any, ...]:
    return (bars.ticker, bars.times, bars.values, bars.factor, bars.stamps)


def _share(prepared: Prepared, settings: TrainSettings, folder: Path) -> WorkerConfig:
    """What all stages' workers have in common; the bars go once into the object store."""
    import ray
    from ray.util.queue import Queue

    split, check = prepared.split, settings.checkpoint
    return WorkerConfig(
        folder=folder.resolve(),
        bars=ray.put(prepared.bars),
        training=(split.training.first, split.training.last),
        validation=(split.validation.first, split.validation.last),
        windows=settings.windows.arguments(),
        validation_windows=settings.validation.windows,
        stage=StagePlan("", {}, None, None, {}, {}, {}),
        seed=settings.run.seed,
        precision=settings.workers.precision,
        cpus=settings.workers.cpus,
        checkpoint_every=check.every,
        checkpoint_keep=check.keep,
        queue=Queue(actor_options={"num_cpus": 0}),
    )


def _plan(name: str, settings: TrainSettings, prepared: Prepared, folder: Path) -> StagePlan:
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


def _rank_ic(
    settings: TrainSettings,
    prepared: Prepared,
    folder: Path,
    stages: Sequence[str],
    console: Console,
) -> RankIC | str:
    if "model" not in stages:
        return ""
    if not settings.validation.rank_ic:
        return "Their RankIC was not measured (validation.rank_ic: false)."
    if "ts" in prepared.market.bars.columns:
        return "Their RankIC was not measured: decision dates are those of daily bars."
    span = prepared.split.validation
    first, last = (moment.astype("datetime64[D]").item() for moment in (span.first, span.last))
    try:
        return forecast_rank_ic(folder, prepared.market, (first, last), settings, console)
    except UsageError as error:
        return f"Their RankIC could not be measured: {error}."

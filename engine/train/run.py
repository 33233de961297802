"""A training run: bars → tokenizer → model → validation → cards.

1. `prepare` reads bars, splits them and finds bases: everything that can be wrong is found here.
2. Each stage runs on Ray Train (`workers.run_stage`), taking up its last checkpoint.
3. `_measured` looks at the best weights: token tables, test span; `forecast_rank_ic` at forecasts.
4. Cards, manifest and loss curves are written.
"""

from __future__ import annotations

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
from engine.train.journal import draw_curves, read_metrics
from engine.train.networks import Networks
from engine.train.plan import WorkerConfig, plan_stage
from engine.train.prepare import Prepared, cut_windows, prepare
from engine.train.rank_ic import RankIC, forecast_rank_ic
from engine.train.record import TrainingFacts, manifest_content, write_cards
from engine.train.settings import TrainSettings
from engine.train.workers import run_stage

if TYPE_CHECKING:
    from kronos.training import TrainingBars

__all__ = ["STAGES", "Trained", "train"]

log = logging.getLogger(__name__)
STAGES = ("tokenizer", "model")
Figures = dict[str, dict[str, float]]
"""By stage and name."""


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
    with folder.open():
        _tokenizer_for(stages, settings, prepared.networks, folder.path)
        folder.write_yaml("config.yaml", settings.model_dump(mode="json"))
        with ray_cluster(
            workers.ray_address,
            cpus=workers.count * workers.cpus,
            object_bytes=_nbytes(prepared.bars),
        ):
            done, minutes = _train_stages(stages, settings, prepared, folder.path, console)
            draw_curves(read_metrics(folder.path / "metrics.csv"), folder.path / "figures")
            ranks = _rank_ic(settings, prepared, folder.path, stages, console)
        measured = _measured(folder.path, settings, prepared, stages)
        facts = TrainingFacts(settings, prepared, done, measured, ranks, minutes, environment)
        write_cards(folder.path, facts)
        manifest = manifest_content(facts)
        folder.write_json("manifest.json", manifest)
    return Trained(folder, manifest)


def _train_stages(
    stages: Sequence[str],
    settings: TrainSettings,
    prepared: Prepared,
    folder: Path,
    console: Console,
) -> tuple[Figures, dict[str, float]]:
    """Best metrics and minutes of each stage; the bars go once into the object store."""
    import ray
    from ray.util.queue import Queue

    bars, queue = ray.put(prepared.bars), Queue(actor_options={"num_cpus": 0})
    done: Figures = {}
    minutes: dict[str, float] = {}
    for name in stages:
        began = time.perf_counter()
        plan = plan_stage(name, settings, prepared, folder)
        worker = WorkerConfig(folder.resolve(), plan, settings, prepared.split, bars, queue)
        worker.store().check()
        result = run_stage(worker, console)
        done[name] = result["metrics"] | {"steps": float(result["steps"])}
        minutes[name] = (time.perf_counter() - began) / 60
        log.info("%s: best at step %d", name, int(done[name]["step"]))
    return done, minutes


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


def _nbytes(bars: TrainingBars) -> int:
    """With the stamps, which are computed here once and not by every worker."""
    arrays = (bars.ticker, bars.times, bars.values, bars.factor, bars.stamps)
    return sum(array.nbytes for array in arrays)


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
        said = str(error).replace(str(folder), folder.name)
        return f"Their RankIC could not be measured: {said}."


def _measured(
    folder: Path, settings: TrainSettings, prepared: Prepared, stages: Sequence[str]
) -> dict[str, Figures]:
    """{"validation" | "test": {"tokenizer" | "model": figures}} of the checkpoint in `folder`."""
    from kronos import Kronos, KronosTokenizer
    from kronos.training import (
        WindowRules,
        evaluate_model,
        evaluate_tokenizer,
        training_tables,
        validation_batches,
    )

    bars, split, rules = prepared.bars, prepared.split, WindowRules(**settings.windows.arguments())
    tokenizer = KronosTokenizer.from_folder(folder / "tokenizer")
    rotate = settings.model_stage.dependency_rope == "trained"
    found: dict[str, Figures] = {"validation": {}, "test": {}}
    for part in ("validation", "test") if split.test else ("validation",):
        windows = cut_windows(bars, rules, split, part)
        batches = validation_batches(windows, rules, settings.validation.windows)
        if "tokenizer" in stages:
            found[part]["tokenizer"] = evaluate_tokenizer(tokenizer, batches)
        if "model" in stages:
            model = Kronos.from_folder(folder / "model")
            tables = training_tables(tokenizer, cut_windows(bars, rules, split, "training"), rules)
            found[part]["model"] = evaluate_model(
                model, tokenizer, batches, tables=tables, rotate=rotate
            )
    return found

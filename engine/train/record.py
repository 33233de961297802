"""What a run says of itself, without a path of its machine: facts, model cards, manifest."""

from __future__ import annotations

import dataclasses
import math
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from engine.config.keys import path_settings
from engine.config.load import CONFIGS
from engine.files import write_text
from engine.train.networks import Base
from engine.train.prepare import Prepared
from engine.train.rank_ic import RankIC
from engine.train.settings import TrainSettings

__all__ = ["TrainingFacts", "manifest_content", "shown_command", "write_cards"]


@dataclass(frozen=True)
class TrainingFacts:
    """What a run did, for its cards and its manifest.

    Attributes
    ----------
    best
        Best validation metrics of each trained stage; `step`, `steps` among them.
    measured
        {"validation" | "test": {stage: figures}} of the weights that were kept.
    rank_ic
        Of the forecasts on the validation dates, or why there is none.
    minutes
        Of wall time, by stage, of the process that finished it.
    environment
        Code version, packages, machine.
    """

    settings: TrainSettings
    prepared: Prepared
    best: dict[str, dict[str, float]]
    measured: dict[str, dict[str, dict[str, float]]]
    rank_ic: RankIC | str
    minutes: dict[str, float]
    environment: dict[str, Any]

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """What is known of each trained stage on the validation span."""
        known = self.measured["validation"]
        return {stage: figures | known.get(stage, {}) for stage, figures in self.best.items()}

    @property
    def trained_until(self) -> date | None:
        """The later of the run's own and its bases'; None when a base does not say."""
        networks = self.prepared.networks
        bases = [networks.tokenizer_base, networks.model_base]
        dates = [base.trained_until for base in bases if base is not None]
        if None in dates:
            return None
        return max([self.prepared.split.until, *(day for day in dates if day)])

    @property
    def command(self) -> str:
        """To run it again."""
        return shown_command(sys.argv[1:])


def write_cards(folder: Path, facts: TrainingFacts) -> None:
    """`README.md` of `folder/tokenizer` and `folder/model`, of those that were trained."""
    from kronos.training.card import model_card
    from kronos.weights.folder import CARD_FILE, checkpoint_sha256

    hashes = {
        part: checkpoint_sha256(folder / part)
        for part in ("tokenizer", "model")
        if (folder / part / "config.json").is_file()
    }
    settings, version = facts.settings, facts.environment["code_version"]
    test = facts.measured["test"]
    for part, metrics in facts.metrics.items():
        front = {
            "license": settings.card.license,
            "library_name": "kronos",
            "trained_until": facts.trained_until,
            "max_context": settings.model.max_context or settings.windows.length,
            "sha256": hashes[part],
        }
        sections = {
            "": settings.card.notes,
            "Data": _data(facts),
            "Training": _training(part, metrics, facts),
            "On the validation span": _metrics(part, metrics),
            "On the test span": _metrics(part, test[part]) if part in test else "",
            "Forecasts": _forecasts(facts.rank_ic) if part == "model" else "",
            "Files": _files(folder, part, hashes),
            "Command": f"```\n{facts.command}\n```\n\nCode version {version}.",
        }
        title = f"{settings.card.name}, {part}"
        write_text(folder / part / CARD_FILE, model_card(front, title, sections))


def _data(facts: TrainingFacts) -> str:
    bars, split, settings = facts.prepared.bars, facts.prepared.split, facts.settings
    said = settings.card.description or (
        f"Bars of {len(bars.tickers)} tickers, source {settings.data.source}"
    )
    test = (
        f" The bars of {split.test} are the test: no weight and no choice has seen them."
        if split.test
        else ""
    )
    return (
        f"{said}: {len(bars):,} bars (content SHA-256 `{bars.sha256()}`). Weights are fitted on "
        f"bars of {split.training}. Validation predicts bars of {split.validation} and only "
        "chooses among weights and sizes, which is why `trained_until` counts them; at least "
        f"{split.gap} bar times, a window, lie between the two, and no bar is in both.{test}"
    )


def _training(part: str, metrics: dict[str, float], facts: TrainingFacts) -> str:
    settings, rules = facts.settings, facts.settings.windows
    base: Base | None = getattr(facts.prepared.networks, f"{part}_base")
    stage = settings.tokenizer_stage if part == "tokenizer" else settings.model_stage
    recipe = stage.model_dump(exclude={"conditioning", "dependency_rope", "context_weight"})
    start = (
        "Random initial weights"
        if base is None
        else f"Fine-tuned from {_called(base)} (SHA-256 `{base.sha256}`, trained until "
        f"{base.trained_until or 'an unknown date'})"
    )
    text = (
        f"{start}. Windows of {rules.length} bars, normalised with the mean and standard deviation "
        f"of their first {rules.shortest_context} to {rules.longest_context} bars only and clipped "
        f"to ±{rules.clip:g}. {metrics['steps']:.0f} steps of {stage.batch} windows, the weights "
        f"of step {metrics['step']:.0f} kept (lowest validation loss); AdamW, one cycle: "
        f"`{recipe}`. Seed {settings.run.seed}; {settings.workers.count} worker(s) of "
        f"{settings.workers.cpus} core(s), {facts.minutes[part]:.1f} minutes."
    )
    if part == "tokenizer":
        return text
    second = settings.model_stage
    sibling = "the true s1" if second.conditioning == "teacher" else "an s1 sampled from the model"
    rotation = (
        "with rotation, as published models were"
        if second.dependency_rope == "trained"
        else "without rotation, as it decodes"
    )
    weight = f" Losses on bars inside the context weigh {second.context_weight:g}."
    return (
        f"{text} In training s2 is conditioned on {sibling}; the dependency layer is trained "
        f"{rotation}.{weight if second.context_weight < 1 else ''}"
    )


def _called(base: Base) -> str:
    """Of a folder its own name only, not where it lies."""
    return Path(base.name).name if Path(base.name).exists() else base.name


def _metrics(part: str, metrics: dict[str, float]) -> str:
    from kronos.training.card import model_table, tokenizer_table

    return (tokenizer_table if part == "tokenizer" else model_table)(metrics)


def _forecasts(found: RankIC | str) -> str:
    if isinstance(found, str):
        return found
    lines = [
        f"RankIC on the validation dates ({found.asofs} decision dates, {found.tickers} tickers, "
        f"{found.lookback} bars of context), judged by the code that judges backtests; mean and "
        "95 % interval. Persistence gives every ticker the same score and so has no RankIC.\n",
        "| horizon | dates | this model | momentum | persistence |",
        "|---|---|---|---|---|",
    ]
    for horizon, row in found.by_forecaster["model"].items():
        others = (found.by_forecaster[name][horizon] for name in ("momentum", "persistence"))
        cells = " | ".join(_interval(each) for each in (row, *others))
        lines.append(f"| {horizon} | {row['n_dates']} | {cells} |")
    return "\n".join(lines)


def _interval(row: dict[str, Any]) -> str:
    if row["rank_ic_mean"] is None:
        return "–"
    low, high = row["ci95"] or (None, None)
    return f"{row['rank_ic_mean']:+.3f}" + ("" if low is None else f" ({low:+.3f} to {high:+.3f})")


def _files(folder: Path, part: str, hashes: dict[str, str]) -> str:
    from safetensors import safe_open

    weights = folder / part / "model.safetensors"
    with safe_open(weights, "np") as tensors:
        count = sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    listed = ", ".join(f"{name} `{digest}`" for name, digest in hashes.items())
    return (
        f"{count:,} numbers, {weights.stat().st_size:,} bytes. SHA-256 over `config.json` and "
        f"`model.safetensors`: {listed}."
    )


def shown_command(arguments: Sequence[str]) -> str:
    """The command line without the paths of this machine."""
    words, flag = ["python -m engine.train"], ""
    for argument in arguments:
        if not argument.startswith("--"):
            words.append(_shown(flag, argument))
            flag = ""
            continue
        flag, equals, value = argument.partition("=")
        words.append(f"{flag}={_shown(flag, value)}" if equals else flag)
    return " ".join(words)


def _shown(flag: str, value: str) -> str:
    """FILE or DIR for a setting that is a path, and for whatever else names a place on the disk."""
    path = Path(value)
    if flag == "--config" and (CONFIGS / path.name).is_file():
        return path.name
    placed = path.is_absolute() or value.startswith("~") or (os.sep in value and path.exists())
    if flag.removeprefix("--") in path_settings(TrainSettings) or placed:
        return "DIR" if flag == "--run.dir" or path.is_dir() else "FILE"
    return shlex.quote(value)


def manifest_content(facts: TrainingFacts) -> dict[str, Any]:
    """`manifest.json` of a training run."""
    split, ranks = facts.prepared.split, facts.rank_ic
    return {
        "version": 1,
        **facts.environment,
        "command": facts.command,
        "seed": facts.settings.run.seed,
        "data_sha256": facts.prepared.bars.sha256(),
        "drops": facts.prepared.market.drops,
        "spans": {
            "training": str(split.training),
            "validation": str(split.validation),
            "test": None if split.test is None else str(split.test),
            "gap": split.gap,
        },
        "trained_until": facts.trained_until,
        "metrics": facts.metrics,
        "test": facts.measured["test"],
        "rank_ic": ranks if isinstance(ranks, str) else dataclasses.asdict(ranks),
        "minutes": facts.minutes,
    }

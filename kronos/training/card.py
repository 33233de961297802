"""Model cards: what a checkpoint was trained on, until when, how, and how well it did."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kronos.folder import CARD_FILE, WEIGHTS_FILE, checkpoint_sha256
from kronos.training.data import TrainingBars
from kronos.training.settings import StageSettings, TrainingSettings

if TYPE_CHECKING:
    from kronos.training.run import TrainingResult

__all__ = ["write_cards"]

MODEL_METRICS = (
    ("bars after the context", "s1", "s1_unigram", "s1_bigram", "s2", "s2_unigram", "s2_bigram"),
    (
        "all bars of a window",
        "s1_all",
        "s1_unigram_all",
        "s1_bigram_all",
        "s2_all",
        "s2_unigram_all",
        "s2_bigram_all",
    ),
)


def write_cards(
    result: TrainingResult,
    bars: TrainingBars,
    settings: TrainingSettings,
    out: Path,
    *,
    facts: dict[str, Any],
) -> None:
    """Write ``README.md`` into ``out/tokenizer`` and ``out/model``.

    ``facts``: ``name`` of the checkpoint, ``description`` of the data, ``command`` that trains it,
    ``license`` or None, ``notes``, further sentences.
    """
    hashes = {part: checkpoint_sha256(out / part) for part in ("tokenizer", "model")}
    until = str(bars.dates.max()) if facts.get("until") is None else str(facts["until"])
    for part in ("tokenizer", "model"):
        front = {
            "license": facts.get("license"),
            "library_name": "kronos",
            "trained_until": until,
            "max_context": settings.max_context,
            "sha256": hashes[part],
        }
        size = (out / part / WEIGHTS_FILE).stat().st_size
        body = [
            f"# {facts['name']}, {part}",
            facts["notes"],
            "## Data",
            data_section(result, bars, settings, facts["description"]),
            "## Training",
            training_section(result, settings, part),
            "## On the held-back period",
            tokenizer_section(result) if part == "tokenizer" else model_section(result),
            "## Files",
            f"{parameters(result, part):,} parameters, {size:,} bytes of float32 weights. SHA-256 "
            f"over `config.json` and `model.safetensors`: tokenizer `{hashes['tokenizer']}`, model "
            f"`{hashes['model']}`.",
            "## Command",
            f"```\n{facts['command']}\n```",
        ]
        text = front_matter(front) + "\n" + "\n\n".join(body) + "\n"
        (out / part / CARD_FILE).write_text(text, encoding="utf-8")


def front_matter(values: dict[str, Any]) -> str:
    # JSON scalars are YAML scalars.
    lines = [
        f"{key}: {value if key == 'trained_until' else json.dumps(value)}"
        for key, value in values.items()
        if value is not None
    ]
    return "\n".join(("---", *lines, "---", ""))


def parameters(result: TrainingResult, part: str) -> int:
    return sum(p.numel() for p in getattr(result, part).parameters())


def data_section(
    result: TrainingResult, bars: TrainingBars, settings: TrainingSettings, description: str
) -> str:
    split = result.split
    gap = settings.window if settings.gap is None else settings.gap
    return (
        f"{description}: {len(bars.dates):,} bars (content SHA-256 `{bars.sha256()}`). Weights "
        f"are fitted on bars of {split.train[0]} to {split.train[1]}; {gap} sessions are left "
        f"out; the bars of {split.held_back[0]} to {split.held_back[1]} are held back and used "
        "only to choose among the weights of a run, which is why `trained_until` counts them."
    )


def training_section(result: TrainingResult, settings: TrainingSettings, part: str) -> str:
    metrics = getattr(result, f"{part}_metrics")
    stage: StageSettings = getattr(settings, f"{part}_stage")
    shared = (
        f"Windows of {settings.window} bars, normalised with the mean and standard deviation of "
        f"their first {settings.context[0]} to {settings.context[1]} bars only and clipped to "
        f"±{settings.clip:g}. {metrics['steps']:.0f} steps of {stage.batch} windows, the weights "
        f"of step {metrics['best_step']:.0f} kept; AdamW {json.dumps(asdict(stage))}; seed "
        f"{settings.seed}; {result.minutes:.0f} minutes on a CPU for both stages."
    )
    if part == "tokenizer":
        return shared
    sibling = "the true s1" if settings.sibling == "teacher" else "an s1 sampled from the model"
    rotation = "with" if settings.dependency_rope else "without"
    return (
        f"{shared} s2 is conditioned on {sibling}. The dependency layer is trained {rotation} "
        f"rotation{'' if settings.dependency_rope else ', as it decodes'}. Losses on bars inside "
        f"the context part weigh {settings.context_weight:g}."
    )


def tokenizer_section(result: TrainingResult) -> str:
    m = result.tokenizer_metrics
    return (
        "| | |\n|---|---|\n"
        f"| reconstruction MSE, normalised units | {m['mse']:.4f} |\n"
        f"| the same within the context part, where the variance is 1 | {m['mse_context']:.4f} |\n"
        f"| mean square of the bars themselves | {m['variance']:.2f} |\n"
        f"| reconstruction MSE from s1 alone | {m['mse_s1']:.4f} |\n"
        f"| s1 codes in use, perplexity | {m['s1_used']:.0%}, {m['s1_perplexity']:.0f} |\n"
        f"| s2 codes in use, perplexity | {m['s2_used']:.0%}, {m['s2_perplexity']:.0f} |"
    )


def model_section(result: TrainingResult) -> str:
    m = result.model_metrics
    lines = [
        "Next-token losses in nats, causal, s2 given the true s1. The tables are fitted on the "
        "training span; the bigram is s1 given the s1 before it, and s2 given its own s1.\n",
        "| | s1 | unigram | bigram | s2 | unigram | bigram |",
        "|---|---|---|---|---|---|---|",
    ]
    for label, *names in MODEL_METRICS:
        lines.append(f"| {label} | " + " | ".join(f"{m[name]:.3f}" for name in names) + " |")
    return "\n".join(lines)

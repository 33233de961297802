"""What a run says of itself: the facts behind its cards, and its manifest."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from datetime import date
from typing import Any

from engine.train.cards import TrainingFacts
from engine.train.prepare import Prepared
from engine.train.rank_ic import RankIC
from engine.train.settings import TrainSettings

__all__ = ["manifest_content", "training_facts"]


def training_facts(
    settings: TrainSettings,
    prepared: Prepared,
    done: dict[str, dict[str, float]],
    measured: dict[str, dict[str, dict[str, float]]],
    ranks: RankIC | str,
    minutes: dict[str, float],
    environment: dict[str, Any],
) -> TrainingFacts:
    """What `train` found, gathered: best metrics of training, of `assess`, RankIC, minutes."""
    bars = prepared.bars
    said = settings.card.description or (
        f"Bars of {len(bars.tickers)} tickers, source {settings.data.source}"
    )
    return TrainingFacts(
        data=f"{said}: {len(bars):,} bars",
        data_sha256=bars.sha256(),
        split=prepared.split,
        trained_until=_trained_until(prepared),
        metrics={name: done[name] | measured["validation"].get(name, {}) for name in done},
        test=measured["test"],
        rank_ic=ranks,
        minutes=minutes,
        environment=environment,
        command=_command(sys.argv[1:]),
    )


def _trained_until(prepared: Prepared) -> date | None:
    """The later of the run's own and its bases'; None when a base does not say."""
    bases = [prepared.networks.tokenizer_base, prepared.networks.model_base]
    dates = [base.trained_until for base in bases if base is not None]
    if None in dates:
        return None
    return max([prepared.split.until, *(day for day in dates if day)])


def _command(arguments: Sequence[str]) -> str:
    """The command line without the paths of this machine."""
    hidden = {"--data.path": "FILE", "--data.store": "FILE", "--run.dir": "DIR"}
    shown: list[str] = []
    for flag, before in zip(arguments, ["", *arguments], strict=False):
        word = hidden.get(before, flag)
        shown.append(f"'{word}'" if " " in word else word)
    return " ".join(("python -m engine.train", *shown))


def manifest_content(
    settings: TrainSettings, facts: TrainingFacts, drops: dict[str, int]
) -> dict[str, Any]:
    """`manifest.json` of a training run."""
    split = facts.split
    ranks = facts.rank_ic
    return {
        "version": 1,
        **facts.environment,
        "command": facts.command,
        "seed": settings.run.seed,
        "data_sha256": facts.data_sha256,
        "drops": drops,
        "spans": {
            "training": str(split.training),
            "validation": str(split.validation),
            "test": None if split.test is None else str(split.test),
            "gap": split.gap,
        },
        "trained_until": facts.trained_until,
        "metrics": facts.metrics,
        "test": facts.test,
        "rank_ic": ranks if isinstance(ranks, str) else dataclasses.asdict(ranks),
        "minutes": facts.minutes,
    }

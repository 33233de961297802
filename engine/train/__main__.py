"""`python -m engine.train`: a tokenizer and a model of your own bars."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from engine.command import make_console, run_command
from engine.config.keys import describe_settings
from engine.config.load import find_config, load_tree, read_environment, read_flags
from engine.errors import UsageError
from engine.train.settings import TrainSettings

if TYPE_CHECKING:
    from engine.train.run import Trained

__all__ = ["main"]

OPTIONS = {"config": True, "stage": True, "help": False}
STAGES = {"tokenizer": ("tokenizer",), "model": ("model",), "both": ("tokenizer", "model")}
DEFAULT_CONFIG = "train_tiny.yaml"
USAGE = f"""\
usage: python -m engine.train [--config FILE] [--stage tokenizer|model|both] [--section.key VALUE …]

Trains a tokenizer, then a model on its tokens, on Ray Train, and leaves <run.dir>/<run.name>/ with
tokenizer/ and model/ as from_pretrained reads them. The same command goes on where a broken run
stopped. Without --config, configs/{DEFAULT_CONFIG} is run. Every setting is a flag, a variable
ENGINE_SECTION__KEY and a key of the file:
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed, 2 usage."""
    return run_command(lambda: _run(sys.argv[1:] if argv is None else list(argv)))


def _run(argv: list[str]) -> int:
    flags, options = read_flags(argv, OPTIONS, TrainSettings)
    console = make_console()
    if "help" in options:
        _help(console)
        return 0
    stage = options.get("stage", "both")
    if stage not in STAGES:
        raise UsageError(f"--stage: {stage!r} is not one of {', '.join(STAGES)}")
    file = find_config(options.get("config") or DEFAULT_CONFIG)
    settings = load_tree(TrainSettings, file, read_environment(os.environ, TrainSettings), flags)
    return _train(settings, console, STAGES[stage])


def _train(settings: TrainSettings, console: Console, stages: Sequence[str]) -> int:
    from engine.train.run import train

    _print_training(console, train(settings, console, stages=stages))
    return 0


def _help(console: Console) -> None:
    console.print(USAGE, highlight=False, markup=False)
    for line in describe_settings(TrainSettings):
        console.print("  " + line, highlight=False, markup=False)


def _print_training(console: Console, done: Trained) -> None:
    """Losses against their baselines, RankIC, and where the checkpoint lies."""
    metrics, ranks = done.manifest["metrics"], done.manifest["rank_ic"]
    table = Table(title="On the validation span", title_justify="left")
    for heading in ("", "this run", "to compare with"):
        table.add_column(heading)
    if tokenizer := metrics.get("tokenizer"):
        table.add_row(
            "reconstruction MSE", f"{tokenizer['mse']:.4f}", f"variance {tokenizer['variance']:.2f}"
        )
        used = f"{tokenizer['s1_used']:.0%} and {tokenizer['s2_used']:.0%}"
        table.add_row("s1 and s2 codes in use", used, "")
    if model := metrics.get("model"):
        for part in ("s1", "s2"):
            tables = f"unigram {model[part + '_unigram']:.3f}, bigram {model[part + '_bigram']:.3f}"
            table.add_row(f"{part} loss, nats", f"{model[part]:.3f}", tables)
    if isinstance(ranks, dict):
        for horizon, row in ranks["by_forecaster"]["model"].items():
            other = ranks["by_forecaster"]["momentum"][horizon]["rank_ic_mean"]
            table.add_row(
                f"RankIC, {horizon} sessions",
                _signed(row["rank_ic_mean"]),
                f"momentum {_signed(other)}",
            )
    console.print(table)
    console.print(f"checkpoint: {done.folder.path}", highlight=False)


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"


if __name__ == "__main__":
    sys.exit(main())

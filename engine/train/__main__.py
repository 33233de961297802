"""`python -m engine.train`: a tokenizer and a model of your own bars."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rich.console import Console

from engine.command import make_console, run_command
from engine.config.keys import describe_settings
from engine.config.load import find_config, load_tree, read_environment, read_flags
from engine.errors import UsageError
from engine.train.settings import TrainSettings

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
    from engine.train.summary import print_training

    print_training(console, train(settings, console, stages=stages))
    return 0


def _help(console: Console) -> None:
    console.print(USAGE, highlight=False, markup=False)
    for line in describe_settings(TrainSettings):
        console.print("  " + line, highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main())

"""``python -m kronos.training --bars FILE --until DATE --out DIR``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import torch

from kronos.training.data import read_bars
from kronos.training.run import save, train
from kronos.training.settings import StageSettings, TrainingSettings


def parser() -> argparse.ArgumentParser:
    base = TrainingSettings()
    p = argparse.ArgumentParser(
        prog="python -m kronos.training",
        description="Train a tokenizer and a model on daily or intraday bars.",
    )
    p.add_argument("--bars", type=Path, required=True, help="CSV or parquet file of long bars")
    p.add_argument("--until", type=date.fromisoformat, required=True, help="last date to read")
    p.add_argument("--out", type=Path, required=True, help="folder for tokenizer/ and model/")
    p.add_argument("--minutes", type=float, help="time budget in place of the step counts")
    for part, stage in (("tokenizer", base.tokenizer_stage), ("model", base.model_stage)):
        p.add_argument(f"--{part}-steps", type=int, default=stage.steps)
        p.add_argument(f"--{part}-batch", type=int, default=stage.batch, help="windows a step")
        p.add_argument(f"--{part}-learning-rate", type=float, default=stage.learning_rate)
    p.add_argument("--held-back", type=int, default=base.held_back, help="sessions at the end")
    p.add_argument("--sibling", choices=("teacher", "sampled"), default=base.sibling)
    p.add_argument("--dependency-rope", action="store_true", help="train it with rotation")
    p.add_argument("--seed", type=int, default=base.seed)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--name", default="kronos", help="name in the model card")
    p.add_argument("--description", help="of the data, for the model card")
    p.add_argument("--license", help="of the weights, for the model card")
    p.add_argument("--notes", default="", help="a sentence for the model card")
    return p


def settings_of(arguments: argparse.Namespace) -> TrainingSettings:
    base = TrainingSettings()

    def stage(part: str) -> StageSettings:
        names = ("steps", "batch", "learning_rate")
        given = {name: getattr(arguments, f"{part}_{name}") for name in names}
        return replace(getattr(base, f"{part}_stage"), **given)

    return replace(
        base,
        tokenizer_stage=stage("tokenizer"),
        model_stage=stage("model"),
        held_back=arguments.held_back,
        sibling=arguments.sibling,
        dependency_rope=arguments.dependency_rope,
        seed=arguments.seed,
    )


def command(argv: list[str]) -> str:
    """The command line without paths, for the model card."""
    shown = []
    for flag, previous in zip(argv, ["", *argv], strict=False):
        placeholder = {"--bars": "FILE", "--out": "DIR"}.get(previous, flag)
        shown.append(f"'{placeholder}'" if " " in placeholder else placeholder)
    return " ".join(("python -m kronos.training", *shown))


def main(argv: list[str]) -> int:
    arguments = parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    try:
        settings = settings_of(arguments)
        bars = read_bars(arguments.bars, arguments.until)
        result = train(bars, settings, minutes=arguments.minutes)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    description = arguments.description or (
        f"Bars of {len(bars.tickers)} tickers, {bars.dates.min()} to {bars.dates.max()}"
    )
    facts = {
        "name": arguments.name,
        "description": description,
        "license": arguments.license,
        "notes": arguments.notes,
        "until": arguments.until,
        "command": command(argv),
    }
    save(result, bars, settings, arguments.out, facts=facts)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Many sampled paths of a window against as many windows of one path."""

from __future__ import annotations

import argparse
import os
from statistics import median
from typing import Any

import torch

from kronos.bench.setup import Clock, build, hardware, measured, windows
from kronos.fast.kernels import choose_kernel
from kronos.predictor import KronosPredictor

__all__ = ["markdown", "run"]


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Clocks of one path of one window, `paths` of it, `paths` of `windows`, and as many windows
    alone; runs alternated, medians over ``args.repeats``."""
    kernel = args.kernel or choose_kernel()
    predictor = build(args.size, profile="fast", kernel=kernel, device="cpu")
    calls = {
        "one": (1, 1),
        "paths": (1, args.paths),
        "shared": (args.windows, args.paths),
        "separate": (args.windows * args.paths, 1),
    }
    start = hardware()
    _clock(predictor, 1, 2, args)  # the first call pays for threads and pages
    clocks: dict[str, list[Clock]] = {name: [] for name in calls}
    for _ in range(args.repeats):
        for name, (count, paths) in calls.items():
            clocks[name].append(_clock(predictor, count, paths, args))
    return {
        "hardware": start | {"load_at_end": os.getloadavg()[0]},
        "kernel": kernel,
        "size": args.size,
        "context": args.context,
        "steps": args.steps,
        "paths": args.paths,
        "windows": args.windows,
        "repeats": args.repeats,
        "wall_s": {name: median(c.wall for c in each) for name, each in clocks.items()},
        "cpu_s": {name: median(c.cpu for c in each) for name, each in clocks.items()},
        "paths_over_one": _ratio(clocks, "paths", "one"),
        "shared_over_separate": _ratio(clocks, "shared", "separate"),
    }


def _clock(predictor: KronosPredictor, count: int, paths: int, args: argparse.Namespace) -> Clock:
    data = windows(count, args.context, args.steps)
    return measured(
        lambda: predictor.forecast(*data, seeds=range(count), paths=paths, keep_paths=False)
    )


def _ratio(clocks: dict[str, list[Clock]], above: str, below: str) -> dict[str, float]:
    pairs = list(zip(clocks[above], clocks[below], strict=True))
    return {
        "wall": median(a.wall / b.wall for a, b in pairs),
        "cpu": median(a.cpu / b.cpu for a, b in pairs),
    }


def markdown(result: dict[str, Any]) -> str:
    """A section with the two ratios and what they were made of."""
    machine, wall, cpu = result["hardware"], result["wall_s"], result["cpu_s"]
    paths, count = result["paths"], result["windows"]
    one, shared = result["paths_over_one"], result["shared_over_separate"]
    rows = [
        ("one path of one window", "one", None),
        (f"{paths} paths of one window", "paths", one),
        (f"{count * paths} windows of one path", "separate", None),
        (f"{paths} paths of {count} windows", "shared", shared),
    ]
    lines = [
        "## Sampled paths",
        "",
        f"{machine['processor']}, {machine['cores']} cores, {torch.get_num_threads()} thread(s), "
        f"torch {machine['torch']}, kernel `{result['kernel']}`; size {result['size']}, context "
        f"{result['context']}, {result['steps']} steps, median of {result['repeats']} alternated "
        f"runs; load {machine['load_at_start']:.1f} at the start and {machine['load_at_end']:.1f} "
        "at the end.",
        "",
        "| call | seconds | CPU seconds | ÷ the row above, wall | CPU |",
        "|---|---|---|---|---|",
    ]
    for text, name, ratio in rows:
        shares = "– | –" if ratio is None else f"{ratio['wall']:.2f} | {ratio['cpu']:.2f}"
        lines.append(f"| {text} | {wall[name]:.2f} | {cpu[name]:.2f} | {shares} |")
    return "\n".join([*lines, ""])

"""Eager against ``torch.compile``: measured, and decided by fixed criteria."""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import numpy as np
import torch

from kronos.bench.setup import build, hardware, peak_bytes, windows
from kronos.devices import resolve_device

__all__ = ["decide", "report", "run"]

FASTER, MEMORY = 1.1, 1.5


def run(args: argparse.Namespace) -> dict[str, Any]:
    """``args.iterations`` seeded forecasts each way, models loaded outside the clock."""
    device = resolve_device(args.device)
    eager, want = measure(args, device)
    compiled, _ = measure(args, device, compiled=True, want=want)
    outcomes = {"eager": eager, "compiled": compiled}
    criteria = decide(outcomes)
    return {
        "hardware": hardware() | {"device": str(device)},
        "size": args.size,
        "batch": args.batch,
        "steps": args.steps,
        "outcomes": outcomes,
        "graphs": int(torch._dynamo.utils.counters["stats"].get("unique_graphs", 0)),
        "criteria": criteria,
        "compile": all(criteria.values()),
    }


def measure(
    args: argparse.Namespace,
    device: torch.device,
    *,
    compiled: bool = False,
    want: np.ndarray | None = None,
) -> tuple[dict[str, Any], np.ndarray | None]:
    """What one way took, its errors against the forecast ``want``, and the forecast."""
    data = windows(args.batch, args.context, args.steps)
    # A model of its own: what is compiled must not warm what is not.
    predictor = build(args.size, profile="exact", device=device)
    if compiled:
        decoder = predictor.runner.decoder
        decoder.step = torch.compile(decoder.step, dynamic=True)  # type: ignore[method-assign]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    before, times, errors, failures = peak_bytes(), [], [], []
    for _ in range(args.iterations + 1):
        start = time.perf_counter()
        try:
            got = predictor.forecast(*data, seeds=range(args.batch)).mean
        except Exception as error:  # a compiler may fail in any way; that is the finding
            failures.append(f"{type(error).__name__}: {str(error).splitlines()[0][:120]}")
            continue
        times.append(time.perf_counter() - start)
        want = got if want is None else want
        errors.append(float(np.abs(got / want - 1).max()))
    cuda = device.type == "cuda"
    outcome = {
        "succeeded": len(times),
        "of": args.iterations + 1,
        "failures": sorted(set(failures)),
        # The first warms up: compilation is reported, not timed.
        "warm_up_s": times[0] if times else None,
        "median_s": median(times[1:]) if times[1:] else None,
        "largest_error": max(errors, default=None),
        "peak_bytes": torch.cuda.max_memory_allocated(device) if cuda else peak_bytes() - before,
    }
    return outcome, want


def decide(outcomes: dict[str, dict[str, Any]]) -> dict[str, bool]:
    """Each criterion and whether it holds; compile only if all do."""
    eager, compiled = outcomes["eager"], outcomes["compiled"]
    ran = compiled["succeeded"] == compiled["of"] and bool(compiled["median_s"])
    return {
        "every iteration succeeds": ran,
        "tokens equal those of eager mode": ran and compiled["largest_error"] < 1e-4,
        f"more than {FASTER} times faster": ran
        and eager["median_s"] / compiled["median_s"] > FASTER,
        f"less than {MEMORY} times the memory": ran
        and compiled["peak_bytes"] < MEMORY * max(eager["peak_bytes"], 1),
    }


def report(result: dict[str, Any]) -> str:
    lines = [
        f"torch.compile on {result['hardware']['device']} ({result['hardware']['processor']}), "
        f"torch {result['hardware']['torch']}: {result['size']}, {result['batch']} windows × "
        f"{result['steps']} steps"
    ]
    for kind, o in result["outcomes"].items():
        if o["median_s"] is None:
            lines.append(f"  {kind:<9} {o['succeeded']}/{o['of']} succeeded; {o['failures']}")
            continue
        lines.append(
            f"  {kind:<9} {o['succeeded']}/{o['of']} succeeded, first {o['warm_up_s']:.2f} s, then "
            f"median {o['median_s']:.3f} s, largest error {o['largest_error']:.1e}, peak "
            f"{o['peak_bytes'] / 1e6:.0f} MB"
        )
    lines.append(f"  graphs compiled: {result['graphs']}")
    lines += [f"  {'yes' if held else 'NO ':<4}{name}" for name, held in result["criteria"].items()]
    if result["compile"]:
        lines.append("Decision: torch.compile would pass on this machine; forecasts stay eager.")
    else:
        lines.append(
            "Decision: eager. `.env.compile` keeps TOTO_DISABLE_COMPILE=1 for this reason; "
            "KRONOS_COMPILE=1 has no effect."
        )
    return "\n".join(lines)

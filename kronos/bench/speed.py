"""The plain recompute path against the profiles, for batches and horizons."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from kronos.bench.setup import SIZES, Clock, build, hardware, measured, rates, windows
from kronos.fast.kernels import choose_kernel
from kronos.predictor import KronosPredictor

__all__ = ["markdown", "run"]

# The plain path is timed on at most this many rows, and scaled.
PLAIN_ROWS = 12


def run(args: argparse.Namespace) -> dict[str, Any]:
    """All rows of the table, runs alternated, medians over ``args.repeats``.

    Rows that ``args.json`` holds from the same machine and kernel are kept, not measured again.
    """
    kernel = args.kernel or choose_kernel()
    machine = hardware()
    result = earlier(args.json, machine, kernel, args.context) or {
        "hardware": machine,
        "kernel": kernel,
        "context": args.context,
        "rates": {},
        "rows": [],
    }
    ceilings = rates(kernel)
    result["rates"] = {key: max(now, result["rates"].get(key, 0)) for key, now in ceilings.items()}
    done = {(row["size"], row["batch"], row["steps"]) for row in result["rows"]}
    asked = {(s, b, n) for s in args.sizes for b in args.batches for n in args.steps}
    for size in args.sizes:
        if not any(key[0] == size for key in asked - done):
            continue
        exact = build(size, profile="exact", device="cpu")
        fast = build(size, profile="fast", kernel=kernel, device="cpu")
        for batch in args.batches:
            for steps in args.steps:
                if (size, batch, steps) in done:
                    continue
                row = measure(size, exact, fast, batch, steps, args)
                result["rows"].append(row)
                print(line(row), file=sys.stderr, flush=True)
                if args.json:
                    args.json.write_text(json.dumps(result, indent=1), encoding="utf-8")
    order = list(SIZES)
    result["rows"].sort(key=lambda row: (order.index(row["size"]), row["batch"], row["steps"]))
    return result


def earlier(
    path: Path | None, machine: dict[str, Any], kernel: str, context: int
) -> dict[str, Any] | None:
    """What an interrupted call left, if this one may go on with it."""
    if path is None or not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    same = ("processor", "threads", "torch")
    if (found["kernel"], found["context"]) != (kernel, context) or any(
        found["hardware"][key] != machine[key] for key in same
    ):
        raise SystemExit(f"{path}: measured on another machine or with another kernel; remove it")
    return found


def measure(
    size: str,
    exact: KronosPredictor,
    fast: KronosPredictor,
    batch: int,
    steps: int,
    args: argparse.Namespace,
) -> dict[str, Any]:
    data = windows(batch, args.context, steps)
    clocks: dict[str, list[Clock]] = {"plain": [], "exact": [], "fast": []}
    tokens: dict[str, np.ndarray] = {}

    def forecast(name: str, predictor: KronosPredictor) -> None:
        tokens[name] = predictor.forecast(*data, seeds=range(batch)).mean

    started = time.perf_counter()
    for _ in range(args.repeats):
        clocks["plain"].append(plain_clock(exact, batch, steps, args.context))
        clocks["exact"].append(measured(lambda: forecast("exact", exact)))
        clocks["fast"].append(measured(lambda: forecast("fast", fast)))
        if time.perf_counter() - started > args.row_seconds:
            break
    wall = {name: median(c.wall for c in each) for name, each in clocks.items()}
    cpu = {name: median(c.cpu for c in each) for name, each in clocks.items()}
    same = np.isclose(tokens["exact"], tokens["fast"], rtol=1e-4).all(axis=(1, 2))
    shape = fast.model
    positions = args.context + (steps - 1) / 2
    flops = 2 * sum(p.numel() for p in shape.transformer.parameters())
    reads = 2 * (shape.n_layers + 1) * positions * shape.d_model * 4
    return {
        "size": size,
        "batch": batch,
        "steps": steps,
        "threads": torch.get_num_threads(),
        "runs": len(clocks["fast"]),
        "load": os.getloadavg()[0],
        "wall_s": wall,
        "cpu_s": cpu,
        "ratio": {
            f"{name}_{kind}": times["plain"] / times[name]
            for name in ("exact", "fast")
            for kind, times in (("wall", wall), ("cpu", cpu))
        },
        "plain_estimated": True,
        "windows_with_equal_prices": int(same.sum()),
        "tokens_per_s": 2 * batch * steps / wall["fast"],
        "work_flops": batch * flops * (args.context + steps),
        "cache_bytes_read": batch * steps * reads,
        "peak_bytes": {
            profile: memory(size, batch, steps, args.context, profile, fast.kernel)
            for profile in ("exact", "fast")
        }
        if args.memory
        else None,
    }


def plain_clock(predictor: KronosPredictor, batch: int, steps: int, context: int) -> Clock:
    """The plain path, estimated: single steps timed at the first, middle and last length.

    Their time is a polynomial of degree two in the length, so Simpson's rule sums it exactly; time
    grows with rows, so at most PLAIN_ROWS are run.
    """
    rows = min(batch, PLAIN_ROWS)
    lengths = (context, context + (steps - 1) // 2, context + steps - 1)
    first, middle, last = (plain_step(predictor, rows, length) for length in lengths)
    scale = steps * batch / rows
    return Clock(
        scale * (first.wall + 4 * middle.wall + last.wall) / 6,
        scale * (first.cpu + 4 * middle.cpu + last.cpu) / 6,
    )


def plain_step(predictor: KronosPredictor, rows: int, length: int) -> Clock:
    data = windows(rows, length, 1)
    return measured(lambda: predictor.forecast(*data, seeds=range(rows), cache=False))


def memory(size: str, batch: int, steps: int, context: int, profile: str, kernel: str) -> int:
    """Peak bytes over the import baseline, in a process of its own."""
    code = f"""
import torch
from kronos.bench.setup import build, peak_bytes, windows
base = peak_bytes()
torch.set_num_threads({torch.get_num_threads()})
kernel = {kernel!r} if {profile!r} == "fast" else None
p = build({size!r}, profile={profile!r}, kernel=kernel, device="cpu")
p.forecast(*windows({batch}, {context}, {steps}), seeds=range({batch}))
print(peak_bytes() - base)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(said.stdout)


def line(row: dict[str, Any]) -> str:
    wall, ratio = row["wall_s"], row["ratio"]
    return (
        f"{row['size']:>5} {row['batch']:>4} × {row['steps']:<3} plain {wall['plain']:8.1f} s  "
        f"exact {wall['exact']:6.2f} s {ratio['exact_wall']:5.1f}×  "
        f"fast {wall['fast']:6.2f} s {ratio['fast_wall']:5.1f}×  "
        f"cpu {ratio['exact_cpu']:5.1f}× {ratio['fast_cpu']:5.1f}×"
    )


def markdown(result: dict[str, Any]) -> str:
    """The table of :func:`run`, with the hardware and how to read it."""
    machine, rates = result["hardware"], result["rates"]
    lines = [
        "## Kronos inference",
        "",
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} thread(s), torch "
        f"{machine['torch']}, kernel `{result['kernel']}`. Context {result['context']}, "
        "random weights, top-p 0.9, one path a window. Seconds are medians of alternated runs, as "
        "many as the column runs says; load is the machine's when the row was done.",
        "",
        f"Measured ceilings: linear {rates['linear_flops'] / 1e9:.0f} GFLOP/s (stock "
        f"{rates['stock_flops'] / 1e9:.0f}), reading memory {rates['read_bytes'] / 1e9:.0f} GB/s.",
        "",
        "| size | windows × steps | plain s (estimated) | exact s | fast s | exact × | fast × "
        "| exact × CPU | fast × CPU | tokens/s | of linear | of memory | peak MB exact, fast "
        "| runs | load |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        wall, ratio, peak = row["wall_s"], row["ratio"], row["peak_bytes"]
        lines.append(
            f"| {row['size']} | {row['batch']} × {row['steps']} | {wall['plain']:.0f} "
            f"| {wall['exact']:.2f} | {wall['fast']:.2f} | {ratio['exact_wall']:.1f} "
            f"| {ratio['fast_wall']:.1f} | {ratio['exact_cpu']:.1f} | {ratio['fast_cpu']:.1f} "
            f"| {row['tokens_per_s']:.0f} "
            f"| {row['work_flops'] / wall['fast'] / rates['linear_flops']:.0%} "
            f"| {row['cache_bytes_read'] / wall['fast'] / rates['read_bytes']:.0%} "
            + ("| –" if peak is None else f"| {peak['exact'] / 1e6:.0f}, {peak['fast'] / 1e6:.0f}")
            + f" | {row['runs']} | {row['load']:.1f} |"
        )
    lines += [
        "",
        "Plain is the path that runs the whole model at every step (`cache=False`). It is "
        "estimated in every row: single steps are timed at the first, middle and last length on "
        "at most 12 windows, in turn with the other runs, summed by Simpson's rule and scaled by "
        "the number of windows. The shares are of the two ceilings over the whole run: a prefill "
        "is bound by the first, a decode step by the second. A bar is two tokens; tokens/s are of "
        "`fast`.",
        "",
    ]
    return "\n".join(lines)

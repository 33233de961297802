"""Which kernels the fast profile uses.

A kernel's name says which linear it takes, "stock" or "onednn" (:mod:`kronos.linear`), and, after a
plus sign, whether decode steps take the compiled attention ("native", :mod:`kronos.native`).

A kernel changes the last bits of every forecast, so it is chosen once for a whole run
(:func:`choose_kernel`), passed on as an argument, and where it is used only checked
(:func:`check_kernel`), never timed again. The choice is remembered for each processor model and
torch version in ``$XDG_CACHE_HOME/kronos/kernels.json``.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F

from kronos import native, newest
from kronos.linear import OneDnnLinear
from kronos.machine import cache_folder, processor
from kronos.native import load_library

__all__ = ["KERNELS", "check_kernel", "choose_kernel", "speed_ratios"]

KERNELS = ("stock", "onednn", "stock+native", "onednn+native")
# Worth another kernel's bits only beyond the noise of a timing.
FASTER = 1.05


@torch.inference_mode()
def choose_kernel(device: str | torch.device = "cpu", *, remembered: bool = True) -> str:
    """The kernel for this machine: each part only if present, right, and faster than stock.

    remembered : take the answer that an earlier probe on this processor model and torch version
        left, and leave this one's; otherwise measure (about a second)
    """
    if torch.device(device).type != "cpu":
        return "stock"
    path, key = cache_folder() / "kernels.json", f"{processor()}, torch {torch.__version__}"
    answers = read_answers(path)
    known = answers.get(key)
    if remembered and known in KERNELS and fault(known) is None:
        return known
    ratios = speed_ratios()
    kernel = "onednn" if ratios["onednn"] > FASTER else "stock"
    kernel += "+native" if ratios["native"] > FASTER else ""
    if remembered:
        write_answers(path, answers | {key: kernel})
    return kernel


def check_kernel(kernel: str, device: str | torch.device = "cpu") -> None:
    """Raise ValueError unless ``kernel`` exists here and computes right."""
    if kernel not in KERNELS:
        raise ValueError(f"kernel is {kernel!r}; use one of {', '.join(KERNELS)}")
    if kernel != "stock":
        reason = "it is for the CPU" if torch.device(device).type != "cpu" else fault(kernel)
        if reason is not None:
            raise ValueError(f"kernel {kernel!r} does not work here ({reason}); use 'stock'")


def fault(kernel: str) -> str | None:
    """What is wrong with a kernel on this machine; None when nothing is."""
    linear, _, attention = kernel.partition("+")
    return (onednn_fault() if linear == "onednn" else None) or (
        native_fault() if attention else None
    )


@cache
@torch.inference_mode()
def onednn_fault() -> str | None:
    generator = torch.Generator().manual_seed(0)
    try:
        for rows, inner, outer in ((1, 24, 40), (5, 512, 96), (130, 96, 512)):
            x = torch.randn(rows, inner, generator=generator)
            weight = torch.randn(outer, inner, generator=generator) / inner**0.5
            bias = torch.randn(outer, generator=generator)
            other = torch.randn(rows, outer, generator=generator)
            want = F.linear(x.double(), weight.double(), bias.double())
            linear = OneDnnLinear(weight, bias)
            for name, got, right in (
                ("linear", linear(x), want),
                ("linear of a batch", linear(x[None])[0], want),
                ("linear with silu", linear.silu(x), F.silu(want)),
                ("linear times", linear.times(x, other), want * other),
                ("linear plus", linear.plus(x, other), want + other),
            ):
                off = float((got - right).abs().max())
                if not off < 2e-5:
                    return f"{name}: error {off:.1e}"
    except (AttributeError, RuntimeError, TypeError) as error:
        return first_line(error)
    return None


@cache
@torch.inference_mode()
def native_fault() -> str | None:
    try:
        load_library()
    except (OSError, AttributeError) as error:
        return first_line(error)
    generator = torch.Generator().manual_seed(0)
    for width, end in ((32, 1), (64, 37), (48, 16), (256, 50)):
        query = 3 * torch.randn(3, 2, 1, width, generator=generator)
        layer = torch.randn(2, 3, 2, end + 5, width, generator=generator)
        wide = layer[:, :, :, :end].double()
        want = F.scaled_dot_product_attention(query.double(), wide[0], wide[1])
        off = float((native.attend_newest(query, layer, end) - want).abs().max())
        if not off < 5e-6:
            return f"attention: error {off:.1e}"
    return None


@torch.inference_mode()
def speed_ratios(repeats: int = 7) -> dict[str, float]:
    """How many times faster than stock each part is; 0 where it is absent or wrong.

    Of the linear the least of two typical shapes, a prefill and a decode step.
    """
    ratios = {"onednn": 0.0, "native": 0.0}
    if onednn_fault() is None:
        ratios["onednn"] = min(linear_ratio(2016, repeats), linear_ratio(98, repeats))
    if native_fault() is None:
        query, layer = torch.randn(32, 8, 1, 64), torch.randn(2, 32, 8, 320, 64)
        ratios["native"] = faster(
            lambda: newest.attend_newest(query, layer, 300),
            lambda: native.attend_newest(query, layer, 300),
            repeats,
        )
    return ratios


def linear_ratio(rows: int, repeats: int) -> float:
    x, weights = torch.randn(rows, 512), [torch.randn(1536, 512) for _ in range(4)]
    packed = [OneDnnLinear(weight) for weight in weights]
    return faster(
        lambda: [F.linear(x, weight) for weight in weights],
        lambda: [linear(x) for linear in packed],
        repeats,
    )


def faster(usual: Callable[[], object], other: Callable[[], object], repeats: int) -> float:
    """Processor time of ``usual`` over that of ``other``: one thread, alternated, best of each.

    Time of the processor and not of the clock, so that a busy machine gives the same answer.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = [(seconds(usual), seconds(other)) for _ in range(repeats)]
    finally:
        torch.set_num_threads(threads)
    return min(t for t, _ in times) / min(t for _, t in times)


def seconds(work: Callable[[], object], at_least: float = 5e-3) -> float:
    """Processor seconds of one call, over as many as take ``at_least``."""
    start, calls = time.process_time(), 0
    while (spent := time.process_time() - start) < at_least or calls == 0:
        work()
        calls += 1
    return spent / calls


def read_answers(path: Path) -> dict[str, str]:
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return answers if isinstance(answers, dict) else {}


def write_answers(path: Path, answers: dict[str, str]) -> None:
    """Whole or not at all; a folder that cannot be written is no error, the probe just repeats."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, delete=False, encoding="utf-8"
        ) as file:
            json.dump(answers, file, indent=1, sort_keys=True)
        os.replace(file.name, path)
    except OSError:
        pass


def first_line(error: BaseException) -> str:
    return str(error).split("\n")[0][:160]

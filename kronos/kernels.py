"""Which linear the fast profile uses: "stock", or "onednn" where it is right and faster.

A kernel changes the last bits of every forecast, so it is chosen once for a whole run
(:func:`choose_kernel`), passed on as an argument, and where it is used only checked
(:func:`check_kernel`), never timed again. The choice is remembered for each processor model and
torch version in ``$XDG_CACHE_HOME/kronos/kernels.json``.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.linear import OneDnnLinear

__all__ = ["KERNELS", "check_kernel", "choose_kernel", "processor"]

KERNELS = ("stock", "onednn")
# Worth another kernel's bits only beyond the noise of a timing.
FASTER = 1.05


@torch.inference_mode()
def choose_kernel(device: str | torch.device = "cpu", *, remembered: bool = True) -> str:
    """The kernel for this machine: "onednn" if present, right, and faster than "stock".

    remembered : take the answer that an earlier probe on this processor model and torch version
        left, and leave this one's; otherwise measure (about half a second)
    """
    if torch.device(device).type != "cpu":
        return "stock"
    path, key = cache_folder() / "kernels.json", f"{processor()}, torch {torch.__version__}"
    answers = read_answers(path)
    if remembered and answers.get(key) in KERNELS:
        kernel = answers[key]
        if kernel == "stock" or fault("onednn") is None:
            return kernel
    kernel = "onednn" if fault("onednn") is None and speed_ratio() > FASTER else "stock"
    if remembered:
        write_answers(path, answers | {key: kernel})
    return kernel


def check_kernel(kernel: str, device: str | torch.device = "cpu") -> None:
    """Raise ValueError unless ``kernel`` exists here and computes right."""
    if kernel not in KERNELS:
        raise ValueError(f"kernel is {kernel!r}; use {' or '.join(KERNELS)}")
    if kernel == "onednn":
        reason = "it is for the CPU" if torch.device(device).type != "cpu" else fault(kernel)
        if reason is not None:
            raise ValueError(f"kernel 'onednn' does not work here ({reason}); use 'stock'")


@torch.inference_mode()
def fault(kernel: str) -> str | None:
    """What is wrong with a kernel on this machine; None when nothing is."""
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
                error = float((got - right).abs().max())
                if not error < 2e-5:
                    return f"{name}: error {error:.1e}"
    except (AttributeError, RuntimeError, TypeError) as error:
        return str(error).split("\n")[0][:120]
    return None


@torch.inference_mode()
def speed_ratio(repeats: int = 5) -> float:
    """How many times faster than stock the prepacked linear is, the least of two typical shapes."""
    ratios = []
    for rows, inner, outer in ((2016, 512, 1536), (98, 512, 1536)):
        x, weights = torch.randn(rows, inner), [torch.randn(outer, inner) for _ in range(4)]
        packed = [OneDnnLinear(weight) for weight in weights]

        def stock(x: Tensor = x, weights: list[Tensor] = weights) -> None:
            for weight in weights:
                F.linear(x, weight)

        def onednn(x: Tensor = x, packed: list[OneDnnLinear] = packed) -> None:
            for linear in packed:
                linear(x)

        times: dict[str, list[float]] = {"stock": [], "onednn": []}
        for _ in range(repeats):
            times["stock"].append(seconds(stock))
            times["onednn"].append(seconds(onednn))
        ratios.append(median(times["stock"]) / median(times["onednn"]))
    return min(ratios)


def seconds(work: Callable[[], None], at_least: float = 5e-3) -> float:
    """Seconds of one call, over as many as take ``at_least``."""
    start, calls = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < at_least or calls == 0:
        work()
        calls += 1
    return spent / calls


def processor() -> str:
    """The processor model, as far as the machine tells."""
    facts = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            facts[name.strip()] = value.strip()
    except OSError:
        pass
    name = facts.get("model name") or platform.processor() or platform.machine()
    numbers = [facts[key] for key in ("cpu family", "model", "stepping") if key in facts]
    return " ".join([name, "/".join(numbers), torch.backends.cpu.get_cpu_capability()]).strip()


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/kronos``, by default ``~/.cache/kronos``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kronos"


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

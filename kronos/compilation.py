"""Whether ``torch.compile`` may be used: only where ``python -m kronos.bench compile`` passed."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import torch

from kronos.decoding.decoder import Decoder
from kronos.fast.machine import cache_folder, processor

__all__ = ["compile_steps", "honour_environment", "remember", "verdict"]


def key(device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return f"{device.type} {name}, torch {torch.__version__}"


def answers_file() -> Path:
    return cache_folder() / "compile.json"


def verdict(device: torch.device) -> bool | None:
    """What the benchmark said on this machine; None if it never ran."""
    try:
        answer = json.loads(answers_file().read_text(encoding="utf-8")).get(key(device))
    except (OSError, ValueError, AttributeError):
        return None
    return answer if isinstance(answer, bool) else None


def remember(device: torch.device, passed: bool) -> None:
    """Leave the benchmark's verdict for :func:`honour_environment`."""
    path = answers_file()
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        answers = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(answers | {key(device): passed}, indent=1), encoding="utf-8")
    os.replace(beside, path)


def compile_steps(decoder: Decoder) -> None:
    """Compile the decode step of ``decoder``; lengths are dynamic."""
    decoder.step = torch.compile(decoder.step, dynamic=True)  # type: ignore[method-assign]


def honour_environment(decoder: Decoder) -> bool:
    """Compile if ``KRONOS_COMPILE=1`` and the benchmark passed here, else warn; True if done."""
    if os.environ.get("KRONOS_COMPILE", "0") != "1":
        return False
    if verdict(decoder.device):
        compile_steps(decoder)
        return True
    said = "did not pass" if verdict(decoder.device) is False else "has not been run"
    warnings.warn(
        f"KRONOS_COMPILE=1 is ignored: `python -m kronos.bench compile` {said} on this machine; "
        "running eagerly",
        stacklevel=3,
    )
    return False

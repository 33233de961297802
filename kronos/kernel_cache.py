"""What the kernels leave in the cache folder: the compiled library, and the probe's answers.

Both can be asked for without loading torch, which takes seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from importlib import metadata
from pathlib import Path

from kronos.machine import cache_folder, processor

__all__ = [
    "FLAGS",
    "KERNELS",
    "SOURCES",
    "library_path",
    "read_answers",
    "remember_kernel",
    "remembered_kernel",
]

KERNELS = ("stock", "onednn", "native")
SOURCES = Path(__file__).with_name("csrc")
# Contraction is on, reassociation is off: all machines with fused multiply-add give equal bits.
FLAGS = ("-O2", "-march=native", "-fno-math-errno", "-ffp-contract=fast", "-fPIC", "-fopenmp")


def library_path() -> Path:
    """Where the library of these sources and this processor is, or would be."""
    sources = b"".join(path.read_bytes() for path in sorted(SOURCES.iterdir()))
    digest = hashlib.sha256(sources + " ".join((*FLAGS, processor())).encode()).hexdigest()[:16]
    return cache_folder() / f"kernel-{digest}.so"


def remembered_kernel(device: str = "cpu") -> str | None:
    """The answer of an earlier probe on this processor model and torch version; "stock" off CPUs.

    None where there was none, or where the library that it needs is gone.
    """
    if not device.startswith("cpu"):
        return "stock"
    known = read_answers(_answers_path()).get(_machine())
    if known not in KERNELS or (known == "native" and not library_path().is_file()):
        return None
    return known


def remember_kernel(kernel: str) -> None:
    """Whole or not at all; a folder that cannot be written is no error, the probe just repeats."""
    path = _answers_path()
    answers = read_answers(path) | {_machine(): kernel}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, delete=False, encoding="utf-8"
        ) as file:
            json.dump(answers, file, indent=1, sort_keys=True)
        os.replace(file.name, path)
    except OSError:
        pass


def read_answers(path: Path) -> dict[str, str]:
    """Machine → kernel; a broken file is as none."""
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return answers if isinstance(answers, dict) else {}


def _answers_path() -> Path:
    return cache_folder() / "kernels.json"


def _machine() -> str:
    return f"{processor()}, torch {metadata.version('torch')}"

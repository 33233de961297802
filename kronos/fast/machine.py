"""This machine: its processor, the cache folder, and what the kernels leave there.

The compiled library and the probe's answer can be asked for without loading torch, which takes
seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

__all__ = [
    "FLAGS",
    "KERNELS",
    "SOURCES",
    "cache_folder",
    "library_path",
    "processor",
    "read_answers",
    "remember_kernel",
    "remembered_answer",
    "remembered_kernel",
]

KERNELS = ("stock", "onednn", "native")
SOURCES = Path(__file__).with_name("csrc")
# Contraction is on, reassociation is off: all machines with fused multiply-add give equal bits.
FLAGS = ("-O2", "-march=native", "-fno-math-errno", "-ffp-contract=fast", "-fPIC", "-fopenmp")
# Answers that could not be written, for this process: by file and machine.
_UNWRITTEN: dict[tuple[Path, str], str] = {}


def processor() -> str:
    """The processor model and the vector instructions that torch uses on it, as far as the machine
    tells; without loading torch, which takes seconds."""
    facts: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            facts[name.strip()] = value.strip()
    except OSError:
        pass
    name = facts.get("model name") or platform.processor() or platform.machine()
    numbers = [facts[key] for key in ("cpu family", "model", "stepping") if key in facts]
    return " ".join([name, "/".join(numbers), _instructions(facts.get("flags", "").split())])


def _instructions(flags: Sequence[str]) -> str:
    """As torch names them: those asked for by ATEN_CPU_CAPABILITY, else the widest there are."""
    asked = os.environ.get("ATEN_CPU_CAPABILITY", "").upper()
    if asked in ("DEFAULT", "AVX2", "AVX512"):
        return asked
    if {"avx512f", "avx512vl", "avx512bw", "avx512dq", "fma"}.issubset(flags):
        return "AVX512"
    return "AVX2" if {"avx2", "fma"}.issubset(flags) else "DEFAULT"


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/kronos``, by default ``~/.cache/kronos``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kronos"


def library_path() -> Path:
    """Where the library of these sources and this processor is, or would be."""
    sources = b"".join(path.read_bytes() for path in sorted(SOURCES.iterdir()))
    digest = hashlib.sha256(sources + " ".join((*FLAGS, processor())).encode()).hexdigest()[:16]
    return cache_folder() / f"kernel-{digest}.so"


def remembered_kernel(device: str = "cpu") -> str | None:
    """The answer of an earlier probe, where it can be used as it is; "stock" off CPUs.

    None where there was none, or where the library that it needs is yet to be compiled.
    """
    if not device.startswith("cpu"):
        return "stock"
    known = remembered_answer()
    return None if known == "native" and not library_path().is_file() else known


def remembered_answer() -> str | None:
    """What an earlier probe found on this processor model and torch version; None: there was none.

    It holds without its library too: that is compiled again, to the same bits, while another
    probe might find another kernel, and with it other scores.
    """
    path, machine = _answers_path(), _machine()
    known = _UNWRITTEN.get((path, machine)) or read_answers(path).get(machine)
    return known if known in KERNELS else None


def remember_kernel(kernel: str) -> None:
    """Whole or not at all; where the folder cannot be written, as long as this process lives."""
    path, machine = _answers_path(), _machine()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        answers = read_answers(path) | {machine: kernel}
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, delete=False, encoding="utf-8"
        ) as file:
            json.dump(answers, file, indent=1, sort_keys=True)
        os.replace(file.name, path)
    except OSError:
        _UNWRITTEN[path, machine] = kernel
    else:
        _UNWRITTEN.pop((path, machine), None)


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

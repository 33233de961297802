"""What processor this is, and where answers about it are kept."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

__all__ = ["cache_folder", "processor"]


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

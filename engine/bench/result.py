"""What a benchmark returns, and how it is shown and kept."""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["BenchResult", "hardware", "peak_memory_gb"]


@dataclass(frozen=True)
class BenchResult:
    """One table of measurements.

    ``columns`` are the headings, ``rows`` the cells (text or numbers, as they are to be read) in
    the same order, ``notes`` say how it was measured and what is estimated.
    """

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "version": 1,
            "name": self.name,
            "hardware": hardware(),
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
            "notes": list(self.notes),
        }

    def markdown(self) -> str:
        """A section for ``BENCHMARKS.md``."""
        machine = hardware()
        lines = [
            f"## `python -m engine.bench {self.name}`",
            "",
            f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB; "
            f"Python {machine['python']}, Ray {machine['ray']}, Polars {machine['polars']}.",
            "",
            "| " + " | ".join(self.columns) + " |",
            "|" + "---|" * len(self.columns),
            *("| " + " | ".join(_cell(value) for value in row) + " |" for row in self.rows),
            *("", *(f"- {note}" for note in self.notes)),
            "",
        ]
        return "\n".join(lines)


def hardware() -> Mapping[str, Any]:
    """The machine and the libraries that figures depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 2**30),
        "python": platform.python_version(),
        **{name: version(name) for name in ("ray", "polars", "torch", "numpy")},
    }


def peak_memory_gb() -> float:
    """This process's peak resident memory so far, GB (10^9 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def _processor() -> str:
    """The processor's name; virtual machines often say only the vendor: family and model too."""
    facts: dict[str, str] = {}
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    for line in text.split("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        facts[name.strip()] = value.strip()
    name = facts.get("model name") or platform.machine()
    if "cpu family" in facts:
        name += f" (family {facts['cpu family']}, model {facts.get('model', '?')})"
    return name


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,.3g}" if isinstance(value, float) else str(value)

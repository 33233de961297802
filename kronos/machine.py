"""What processor this is, and where answers about it are kept."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["cache_folder", "processor"]


def processor() -> str:
    """The processor model, as far as the machine tells."""
    import torch  # seconds, that whoever only asks for the folder need not wait

    facts: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            facts[name.strip()] = value.strip()
    except OSError:
        pass
    name = facts.get("model name") or platform.processor() or platform.machine()
    numbers = [facts[key] for key in ("cpu family", "model", "stepping") if key in facts]
    return " ".join([name, "/".join(numbers), torch.backends.cpu.get_cpu_capability()])


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/kronos``, by default ``~/.cache/kronos``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kronos"

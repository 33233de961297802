"""Memory of a process and all that it started."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

__all__ = ["peak_while_running", "tree_memory"]

EVERY_S = 0.2


def tree_memory(root: int) -> int:
    """Bytes of `root` and its descendants; a page that several share counts once (PSS). Linux."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    total, left = 0, [root]
    while left:
        pid = left.pop()
        left += parents.get(pid, [])
        total += _pss(pid)
    return total


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:  # it has ended
        return 0
    found = [line.split()[1] for line in text.splitlines() if line.startswith("Pss:")]
    return int(found[0]) * 1024 if found else 0


def peak_while_running(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Until the process ends, five times a second: the largest `tree_memory`, and the largest of
    the process alone."""
    peak, own = 0, 0
    while process.poll() is None:
        peak, own = max(peak, tree_memory(process.pid)), max(own, _pss(process.pid))
        time.sleep(EVERY_S)
    return peak, own

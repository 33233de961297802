"""Memory of a process and its children."""

from __future__ import annotations

import os
import subprocess
import sys

from engine.bench.cycle import tree_memory

CHILD = "held = bytearray(60_000_000); held[::4096] = b'x' * len(held[::4096]); print('ready', flush=True); input()"


def test_children_count_and_the_dead_do_not():
    before = tree_memory(os.getpid())
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    assert tree_memory(child.pid) > 60e6
    assert tree_memory(os.getpid()) - before > 50e6
    child.communicate("\n")
    assert tree_memory(child.pid) == 0

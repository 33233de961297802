"""The process in which a model scores: `python -m engine.signals.worker TASK ANSWER`.

It ends itself, and with it the Ray it started, when the pipe to the process that wants the scores
breaks: nothing goes on computing for somebody who is dead.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from rich.console import Console

from engine.command import run_command
from engine.decisions.scores import score_decisions
from engine.errors import UsageError
from engine.files import write_bytes

__all__ = ["main"]


def main() -> int:
    """Score what the task file asks for; the answer file says what came of it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    task, answer = map(Path, sys.argv[1:3])
    return run_command(lambda: _answer(task, answer))


def _answer(task: Path, answer: Path) -> int:
    settings, market, dates, folder, quiet = pickle.loads(task.read_bytes())
    said: tuple[str, Any]
    try:
        console = Console(stderr=True, quiet=quiet)
        scored = score_decisions(
            market, settings, dates, folder=folder, console=console, here="small"
        )
        said = "scored", scored
    except UsageError as error:
        said = "usage", str(error)
    except (MemoryError, Exception) as error:
        said = "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"
    write_bytes(answer, pickle.dumps(said))
    return 0


def _end_with_parent() -> None:
    os.read(0, 1)  # nothing is ever written: it returns at the end of the pipe
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())

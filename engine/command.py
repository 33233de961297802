"""How every command ends: an exit code, and one line when something is wrong."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable

from rich.console import Console

from engine.errors import UsageError

__all__ = ["make_console", "run_command"]

log = logging.getLogger("engine")


LOG_WIDTH = 110


def make_console() -> Console:
    """A console as wide as the terminal; wide enough for the tables where there is none."""
    return Console() if sys.stdout.isatty() else Console(width=LOG_WIDTH)


def run_command(command: Callable[[], int]) -> int:
    """The command's exit code; 2 after bad input, 1 after a failure, 130 after Ctrl-C.

    A failure is one line too; its traceback is in the run's log, and on the terminal with
    KRONOS_ENGINE_TRACEBACK=1 (no setting of a run, hence not ENGINE_*).
    """
    _show_warnings()
    try:
        return command()
    except UsageError as error:
        print(f"error: {_printable(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"failed: {_one_line(error)}", file=sys.stderr)
        if os.environ.get("KRONOS_ENGINE_TRACEBACK"):
            traceback.print_exc()
        else:
            print("(KRONOS_ENGINE_TRACEBACK=1 shows where)", file=sys.stderr)
        return 1


class _WarningLine(logging.Handler):
    """Warnings of the engine as one line on stderr; tracebacks stay in the run's log."""

    def emit(self, record: logging.LogRecord) -> None:
        if not record.exc_info:
            line = _printable(record.getMessage())
            print(f"{record.levelname.lower()}: {line}", file=sys.stderr)


def _show_warnings() -> None:
    if not any(isinstance(handler, _WarningLine) for handler in log.handlers):
        log.addHandler(_WarningLine(level=logging.WARNING))


def _one_line(error: Exception) -> str:
    """Lines of a library's message side by side."""
    lines = (line.strip() for line in str(error).splitlines())
    return _printable(" ".join(line for line in lines if line)) or type(error).__name__


def _printable(text: str) -> str:
    """A name out of a file may hold what would break the line or steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

"""`python -m engine.data import|check|info`: fill, audit and describe the price store."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from engine.command import make_console, run_command
from engine.errors import UsageError

__all__ = ["main"]

USAGE = """\
usage: python -m engine.data import [FILE …] [--data.store FILE] [options]
       python -m engine.data check  [FILE …] [--data.store FILE] [--json OUT]
       python -m engine.data info   [--data.store FILE] [--json OUT] [--prune-cache DAYS]

import fills the price store from Parquet or CSV files and folders, or without FILE from
data.source; check audits bars by rules; info shows what the store
and the score cache hold. Each with --help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed, 2 bad usage."""
    return run_command(lambda: _run(sys.argv[1:] if argv is None else list(argv)))


def _run(argv: list[str]) -> int:
    # Each of them loads what it needs alone: an import that has nothing to do takes no second.
    command, *arguments = argv or ["--help"]
    match command:
        case "import":
            from engine.data.importing import run_import

            return run_import(arguments)
        case "check":
            from engine.data.check import run_check

            return run_check(arguments)
        case "info":
            from engine.data.info import run_info

            return run_info(arguments)
        case "--help" | "-h" | "help":
            make_console().print(USAGE, highlight=False, markup=False)
            return 0
    raise UsageError(f"engine.data: unknown command {command!r}; use import, check or info")


if __name__ == "__main__":
    sys.exit(main())

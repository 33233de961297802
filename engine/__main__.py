"""`kronos-engine COMMAND …`, the same as `python -m engine.COMMAND …`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "backtest": "the main job: bars to scores, portfolio, gates and report",
    "signals": "ranks and target weights of one session",
    "live": "the live loop; a paper broker unless told otherwise",
    "data": "fill, audit and describe the price store",
    "train": "train a tokenizer and a model on your bars",
    "audit": "prove or refute that a configuration looks ahead",
    "bench": "measure this machine",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that is named first; returns its exit code, 2 for an unknown one."""
    name, *arguments = (sys.argv[1:] if argv is None else list(argv)) or ["--help"]
    if name in ("--help", "-h", "help"):
        print("usage: kronos-engine COMMAND …, or python -m engine.COMMAND …\n")
        print("\n".join(f"  {command:<10}{line}" for command, line in COMMANDS.items()))
        print("\nEach with --help. --version says which version this is.")
        return 0
    if name == "--version":
        from importlib.metadata import version

        print(version("kronos-engine"))
        return 0
    if name not in COMMANDS:
        from engine.errors import nearest

        hint = f"did you mean '{nearest(name, COMMANDS)}'?"
        print(f"error: unknown command {name!r}; {hint} (--help lists them)", file=sys.stderr)
        return 2
    # A run's manifest records the command line as `python -m` would have it.
    sys.argv = [f"engine.{name}", *arguments]
    code: int = importlib.import_module(f"engine.{name}.__main__").main(arguments)
    return code


if __name__ == "__main__":
    sys.exit(main())

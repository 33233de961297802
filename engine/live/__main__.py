"""`python -m engine.live`: the loop, and commands to a running one."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from datetime import date

from engine.command import make_console, run_command
from engine.config import Settings, load_settings, read_flags
from engine.errors import UsageError
from engine.files import private_files

__all__ = ["main"]

OPTIONS = {
    "config": True,
    "once": False,
    "dry-run": False,
    "send-orders": False,
    "replay": True,
    "help": False,
}
COMMANDS = ("status", "halt", "resume", "acknowledge")
USAGE = """\
usage: python -m engine.live [--once] [--dry-run | --send-orders] [--replay FIRST:LAST]
                             [--config FILE] [--section.key VALUE …]
       python -m engine.live status|resume|acknowledge [--config FILE] [--section.key VALUE …]
       python -m engine.live halt "REASON" [--config FILE] [--section.key VALUE …]

The loop: after the close data, scores and target weights; before the open checks; after the open
orders; before the close what is still open is cancelled; then the page of the day. Without
--send-orders (--dry-run) plans are made and shown, and no order is sent. --once does what is due
now and ends; exit code 3: a guard halted a phase. --replay goes through past sessions without
waiting, at the broker live.broker names, which is paper unless live.alpaca.url says where.

halt stops all sending at once, resume ends that and every persistent halt of a guard, acknowledge
accepts a changed configuration, model or position that a guard stopped at.

Without --config configs/live.yaml is taken. Every setting is a flag, a variable
ENGINE_SECTION__KEY and a key of the file (python -m engine.backtest --help lists them).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed, 2 usage, 3 halted by a guard."""
    with private_files():  # positions, orders, money
        return run_command(lambda: _run(sys.argv[1:] if argv is None else list(argv)))


def _run(argv: list[str]) -> int:
    command = argv[0] if argv and argv[0] in COMMANDS else None
    arguments = argv[1:] if command else argv
    reason = ""
    if command == "halt":
        if not arguments or arguments[0].startswith("--"):
            raise UsageError('halt needs a reason: python -m engine.live halt "REASON"')
        reason, *arguments = arguments
    flags, options = read_flags(arguments, OPTIONS)
    if "help" in options:
        make_console().print(USAGE, highlight=False, markup=False)
        return 0
    settings = load_settings(flags, config=options.get("config", "live.yaml"))
    if command:
        return _command(command, reason, settings)
    if "dry-run" in options and "send-orders" in options:
        raise UsageError("--dry-run and --send-orders contradict each other")
    from engine.live.start import start

    halted = start(
        settings,
        make_console(),
        send="send-orders" in options,
        once="once" in options,
        replay=_replay(options.get("replay")),
    )
    return 3 if halted and "once" in options else 0


def _command(command: str, reason: str, settings: Settings) -> int:
    from engine.live.control import Control
    from engine.live.monitor import show_status

    console, folder = make_console(), settings.run.dir / settings.run.name
    if not folder.is_dir():
        raise UsageError(f"{folder}: no loop has run here (python -m engine.live)")
    control = Control(folder)
    if command == "status":
        show_status(folder, console)
        return 0
    if command == "halt":
        control.halt(reason, getpass.getuser())
        said = "halted: nothing is sent until python -m engine.live resume"
    elif command == "resume":
        said = "resumed" if control.resume() else "it was not halted; halted phases are tried again"
    else:
        said = f"acknowledged: {', '.join(sorted(control.acknowledge()))}"
    console.print(said, highlight=False, markup=False)
    return 0


def _replay(text: str | None) -> tuple[date, date] | None:
    if text is None:
        return None
    first, _, last = text.partition(":")
    try:
        span = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        raise UsageError(f"--replay {text}: give two dates, as 2012-01-03:2012-03-30") from None
    if span[0] > span[1]:
        raise UsageError(f"--replay {text}: the first date is after the last")
    return span


if __name__ == "__main__":
    sys.exit(main())

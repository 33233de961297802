"""`python -m engine.backtest`: the main job, from bars to a verdict."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console

from engine.command import make_console, run_command
from engine.config import Settings, load_settings, read_flags

__all__ = ["main"]

OPTIONS = {"config": True, "require-gates": False, "explain": False, "help": False}
USAGE = """\
usage: python -m engine.backtest [--config FILE] [--section.key VALUE …] [--require-gates]
                                 [--explain]
       python -m engine.backtest compare RUN RUN… [--out FOLDER]
       python -m engine.backtest explain RUN…

Scores every (date, stock), trades the scores, judges them, and leaves a run folder with a report.
Without --config the demonstration (configs/demo.yaml) is run. --require-gates exits with 4 when a
gate did not pass; --explain walks through each gate. compare puts finished runs side by side, with
a paired bootstrap of their RankICs.

Every setting is a flag, a variable ENGINE_SECTION__KEY and a key of the file:
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed, 2 usage, 3 quarantine, 4 gates."""
    return run_command(lambda: _run(sys.argv[1:] if argv is None else list(argv)))


def _run(argv: list[str]) -> int:
    console = make_console()
    if argv and argv[0] in ("compare", "explain"):
        return _finished_runs(argv[0], argv[1:], console)
    flags, options = read_flags(argv, OPTIONS)
    if "help" in options:
        _help(console)
        return 0
    settings = load_settings(flags, config=options.get("config"))
    chosen = {name: name in options for name in ("require-gates", "explain")}
    return _backtest(
        settings, console, require_gates=chosen["require-gates"], explained=chosen["explain"]
    )


def _finished_runs(action: str, names: list[str], console: Console) -> int:
    if action == "compare":
        from engine.backtest.compare import compare_runs

        compare_runs(names, console)
    else:
        from engine.backtest.explain import explain_runs

        explain_runs(names, console)
    return 0


def _backtest(settings: Settings, console: Console, *, require_gates: bool, explained: bool) -> int:
    from engine.backtest.run import run_backtest
    from engine.backtest.summary import print_summary

    done = run_backtest(settings, console)
    print_summary(console, done)
    if explained:
        from engine.backtest.explain import explain

        explain(done.gates, done.rules, console)
    if done.quarantined:
        return 3
    verdicts = [gate["verdict"] for gate in done.gates["gates"]]
    return 4 if require_gates and any(verdict != "PASS" for verdict in verdicts) else 0


def _help(console: Console) -> None:
    from engine.config.keys import describe_settings

    console.print(USAGE, highlight=False, markup=False)
    for line in describe_settings():
        console.print("  " + line, highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m engine.signals --as-of DATE`: ranked signals and target weights of one session."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table

from engine.command import make_console, run_command
from engine.config import Settings, load_settings, read_flags
from engine.errors import UsageError

__all__ = ["main"]

OPTIONS = {"config": True, "as-of": True, "help": False}
SHOWN = 10
USAGE = """\
usage: python -m engine.signals --as-of DATE [--config FILE] [--section.key VALUE …]

Scores the session DATE with nothing later than its close, ranks, and writes the target weights to
<run.dir>/signals/DATE.parquet, .json and .html: what the backtest decides at DATE, by its own code.
Without --config configs/live.yaml is taken. evaluation.* is ignored and DATE taken for a rebalance;
a strategy with a memory is replayed from strategy.since. Exit code 3: some windows failed.

Every setting is a flag, a variable ENGINE_SECTION__KEY and a key of the file
(python -m engine.backtest --help lists them).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed, 2 usage, 3 windows failed."""
    return run_command(lambda: _run(sys.argv[1:] if argv is None else list(argv)))


def _run(argv: list[str]) -> int:
    console = make_console()
    flags, options = read_flags(argv, OPTIONS)
    if "help" in options:
        console.print(USAGE, highlight=False, markup=False)
        return 0
    if "as-of" not in options:
        raise UsageError("engine.signals needs --as-of DATE, the session to decide at")
    asof = _date(options["as-of"])
    settings = load_settings(flags, config=options.get("config") or "live.yaml")
    return _signals(settings, asof, console)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--as-of: {text!r} is not a date as 2024-06-28") from None


def _signals(settings: Settings, asof: date, console: Console) -> int:
    from engine.run_folder import RunFolder
    from engine.signals.compute import FOLDER, compute_signals
    from engine.signals.write import previous_signals, write_signals

    with RunFolder(settings.run.dir, FOLDER).open():
        before = previous_signals(settings.run.dir, asof)
        signals = compute_signals(
            settings,
            asof,
            previous=None if before is None else before.weights,
            console=Console(stderr=True),
        )
        paths = write_signals(signals, settings, previous=None if before is None else before.asof)
    _show(signals.table, f"Signals of {asof}, horizon {signals.horizon}", console)
    if not signals.rebalance:
        console.print("the strategy keeps its book today: nothing to trade")
    if signals.fallback_reason:
        console.print(f"scored by the fallback: {signals.fallback_reason}", markup=False)
    _name_files(paths, console)
    return 3 if signals.failed else 0


def _name_files(paths: Sequence[Path], console: Console) -> None:
    for path in paths:
        console.print(f"[bold]{path}[/]", highlight=False)


def _show(table, title: str, console: Console) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    scored = table.filter(table["rank"].is_not_null())
    held = scored.filter(scored["target_weight"] != 0)
    shown = held if 0 < held.height <= 2 * SHOWN else scored.head(SHOWN)
    view = Table(title=title, title_justify="left")
    for heading in ("rank", "ticker", "score", "target weight", "change"):
        view.add_column(heading, justify="left" if heading == "ticker" else "right")
    for row in shown.iter_rows(named=True):
        view.add_row(
            str(row["rank"]),
            row["ticker"],
            f"{row['score']:+.4f}",
            f"{row['target_weight']:+.2%}",
            f"{row['change']:+.2%}",
        )
    console.print(view)
    left_out = table.height - scored.height
    console.print(f"{scored.height} names scored, {held.height} held, {left_out} left out")


if __name__ == "__main__":
    sys.exit(main())

"""Finished runs side by side: `python -m engine.backtest compare RUN RUN… [--out FOLDER]`.

1. `load_run` reads a run folder: metrics, gates, daily returns, and the RankIC of each date
2. `paired_differences` bootstraps the difference to the first run on the dates both judged
3. `compare_runs` prints the tables and leaves `comparison.html` (self-contained),
   `comparison.png` and `comparison.json`
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from engine.backtest.compare.page import (
    TITLE,
    comparison_tables,
    draw_runs,
    print_table,
    render_page,
)
from engine.backtest.compare.runs import (
    FinishedRun,
    distinct,
    load_run,
    paired_differences,
    unlike,
)
from engine.errors import UsageError
from engine.files import write_bytes, write_json, write_text

__all__ = ["FinishedRun", "compare_runs", "load_run", "paired_differences"]


def compare_runs(arguments: Sequence[str], console: Console) -> dict[str, Any]:
    """The command: prints the tables, writes the files, returns `comparison.json`'s content."""
    folders, out = _arguments(arguments)
    runs = distinct([load_run(folder) for folder in folders])
    differences = paired_differences(runs)
    warnings = unlike(runs)
    tables = comparison_tables(runs, differences)
    for table in tables:
        print_table(console, table)
    for line in warnings:
        console.print(f"note: {line}", highlight=False)
    content = {
        "version": 1,
        "runs": [run.name for run in runs],
        "differences": differences,
        "notes": warnings,
    }
    out = out or folders[0].resolve().parent / "comparison"
    chart = draw_runs(runs)
    write_json(out / "comparison.json", content)
    write_text(out / "comparison.html", render_page(runs, tables, chart, differences, warnings))
    picture = chart.png(TITLE)
    write_bytes(out / "comparison.png", picture)
    console.print(f"\nopen {(out / 'comparison.html').resolve()}", highlight=False, soft_wrap=True)
    return content


def _arguments(arguments: Sequence[str]) -> tuple[list[Path], Path | None]:
    names, out = list(arguments), None
    if "--out" in names:
        at = names.index("--out")
        if at + 1 >= len(names):
            raise UsageError("compare: --out needs a folder")
        out = Path(names[at + 1])
        del names[at : at + 2]
    strange = [name for name in names if name.startswith("--")]
    if strange:
        raise UsageError(f"compare: unknown option {strange[0]}; there is --out FOLDER")
    if len(names) < 2:
        raise UsageError("compare: name at least two run folders, as in: compare runs/a runs/b")
    return [Path(name) for name in names], out

"""``python -m engine.bench NAME [--json FILE] [--markdown FILE] [its own options]``."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from rich.table import Table

import engine.bench
from engine.bench.result import BenchResult
from engine.command import make_console, run_command
from engine.errors import UsageError
from engine.files import write_text

__all__ = ["main"]

USAGE = "python -m engine.bench NAME [--json FILE] [--markdown FILE] [options of NAME]\n"
HELPERS = ("__main__", "made_up", "result")
PRIVATE = ("calibration", "chaos", "judging", "judging_statistics", "memory", "purge", "quarter")
NEEDS_CHECKOUT = "needs a checkout of the project: what it is made of is no part of the wheel"


def main(arguments: list[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        _list_benchmarks()
        return 0
    name, *rest = arguments
    if name not in _names():
        known = ", ".join(_names())
        raise UsageError(f"engine.bench: no benchmark is named {name!r}; there are: {known}")
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--json", type=Path)
    common.add_argument("--markdown", type=Path)
    outputs, own = common.parse_known_args(rest)
    result: BenchResult = importlib.import_module(_place(name)).run(own)
    _show(result)
    if outputs.json:
        write_text(outputs.json, json.dumps(result.to_json(), indent=2) + "\n")
    if outputs.markdown:
        write_text(outputs.markdown, _with_section(outputs.markdown, result))
    return 0


def _names() -> list[str]:
    found = pkgutil.iter_modules(engine.bench.__path__)
    return sorted({m.name for m in found if not m.ispkg} - {*HELPERS} | {*PRIVATE})


def _place(name: str) -> str:
    """The module; of a private one only in a checkout."""
    if name not in PRIVATE:
        return f"engine.bench.{name}"
    if find_spec("engine.bench.private") is None:
        raise UsageError(f"engine.bench {name}: {NEEDS_CHECKOUT}")
    return f"engine.bench.private.{name}"


def _summary(name: str) -> str:
    """SUMMARY as the file has it: loading all benchmarks takes seconds."""
    try:
        spec = find_spec(_place(name))
    except UsageError:
        return NEEDS_CHECKOUT
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text(encoding="utf-8")
    found = re.search(r'^SUMMARY = "(.*)"$', text, re.MULTILINE)
    return found[1] if found else ""


def _list_benchmarks() -> None:
    table = Table("benchmark", "measures", box=None)
    for name in _names():
        table.add_row(name, _summary(name))
    console = make_console()
    console.print(USAGE, markup=False)
    console.print(table)


def _show(result: BenchResult) -> None:
    table = Table(*map(str, result.columns), title=result.name)
    for row in result.rows:
        table.add_row(*(f"{v:,.3g}" if isinstance(v, float) else str(v) for v in row))
    console = make_console()
    console.print(table)
    for note in result.notes:
        console.print(f"- {note}", markup=False)


def _with_section(path: Path, result: BenchResult) -> str:
    """The file with this benchmark's section in place of its former one, or appended."""
    section = result.markdown()
    text = path.read_text(encoding="utf-8") if path.exists() else "# Benchmarks\n"
    heading = re.escape(section.splitlines()[0])
    former = re.compile(rf"^{heading}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if former.search(text):
        return former.sub(lambda _: section + "\n", text, count=1).rstrip("\n") + "\n"
    return text.rstrip("\n") + "\n\n" + section


if __name__ == "__main__":
    sys.exit(main())

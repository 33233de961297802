"""Style and types, with the settings of pyproject.toml."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest
from places import ROOT

CHECKS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
}


@pytest.mark.parametrize("check", CHECKS)
def test_clean(check):
    said = subprocess.run(
        [sys.executable, "-m", *CHECKS[check]], cwd=ROOT, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stdout + said.stderr


PUBLISHED = {"Kronos.__init__", "KronosTokenizer.__init__"}
"""Signatures that checkpoints and people's scripts rely on."""


def test_no_file_and_no_list_of_parameters_is_too_long():
    """Longer than this, nobody reads them."""
    for folder in ("kronos", "strategies", "backtest", "engine"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert text.count("\n") <= 400, path
            for owner, function in functions(ast.parse(text)):
                given = [a.arg for a in function.args.posonlyargs + function.args.args]
                given += [a.arg for a in function.args.kwonlyargs]
                name = f"{owner}.{function.name}" if owner else function.name
                taken = len(given) - (bool(owner) and given[:1] in (["self"], ["cls"]))
                assert taken <= 10 or name in PUBLISHED, f"{path}: {name} takes {taken}"


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """(its class, or "", and the function) of every function, nested ones too."""
    owners = {
        id(child): node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for child in node.body
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield owners.get(id(node), ""), node

"""Which folder may import which: DESIGN §1, read from the code itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

OURS = ("kronos", "strategies", "backtest", "engine")
MAY_IMPORT = {
    "kronos": {"kronos"},
    "strategies": {"strategies"},
    "backtest": {"backtest", "strategies"},
    "engine": set(OURS),
}
KRONOS_LIBRARIES = {"torch", "numpy", "pandas", "einops", "huggingface_hub", "safetensors"}


def imports(path: Path) -> set[tuple[str, bool]]:
    """(top-level module, whether only for type checking) of every import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(alias.name.split(".")[0], id(node) in typing_only) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add((node.module.split(".")[0], id(node) in typing_only))
    return found


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", OURS)
def test_folder_imports_only_what_it_may(folder):
    assert files(folder)
    for path in files(folder):
        ours = {name for name, _ in imports(path) if name in OURS}
        assert ours <= MAY_IMPORT[folder], path


def test_backtest_takes_only_types_from_strategies():
    for path in files("backtest"):
        assert ("strategies", False) not in imports(path), path


def test_kronos_runs_alone():
    allowed = KRONOS_LIBRARIES | {"kronos"} | set(sys.stdlib_module_names)
    for path in files("kronos"):
        assert {name for name, _ in imports(path)} <= allowed, path


def test_only_the_portfolio_imports_vectorbt():
    users = {
        str(path.relative_to(ROOT))
        for folder in OURS
        for path in files(folder)
        if any(name == "vectorbt" for name, _ in imports(path))
    }
    assert users == {"backtest/simulation/portfolio.py"}


def test_strategies_do_no_input_or_output():
    allowed = {"strategies", "polars", "numpy"} | set(sys.stdlib_module_names)
    forbidden = {"pathlib", "os", "io", "shutil", "socket", "urllib", "subprocess"}
    for path in files("strategies"):
        names = {name for name, _ in imports(path)}
        assert names <= allowed - forbidden, path


def test_importing_the_engine_does_not_load_the_slow_libraries():
    """torch, ray and vectorbt take seconds; a configuration error should not wait for them."""
    code = (
        "import sys, engine.backtest.__main__; "
        "print(sorted({'torch', 'ray', 'vectorbt', 'matplotlib', 'plotly', 'lightgbm'} & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert said.stdout.strip() == "[]"


def test_the_package_is_installed_not_only_in_the_working_folder(tmp_path):
    code = "import engine, kronos, strategies, backtest; print(engine.__file__)"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert Path(said.stdout.strip()).parent == ROOT / "engine"

"""Which room may import which: DESIGN §1, read from the code itself.

A room is a folder of a top folder (`engine/scoring`) or a single file in it (`engine/files.py`).
Imports within functions count like those at the top; those for type checking alone do not.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
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

FLOORS = (
    {"errors"},
    {"alpaca_keys", "cache", "calendar", "command", "files", "progress", "retries", "yaml_file"},
    {"config", "run_folder"},
    {"data"},
    {"features", "forecasters"},
    {"scoring"},
    {"baselines"},
    {"decisions"},
    {"backtest", "signals"},
    {"audit", "live", "train"},
    {"bench"},
)
"""The rooms of `engine/` from the ground up: each may import those on the floors below it."""


def parsed(root: Path) -> dict[str, ast.Module]:
    """Module name → its tree, of every file in our folders."""
    found = {}
    for folder in OURS:
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def import_nodes(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in typing_only:
            yield node


def import_graph(root: Path) -> dict[str, set[str]]:
    """Module → modules of ours that it imports; an import from a package is of the package, or of
    the module in it that is named."""
    trees = parsed(root)
    packages = {name for name in trees if any(other.startswith(f"{name}.") for other in trees)}
    graph: dict[str, set[str]] = {}
    for module, tree in trees.items():
        here = module if module in packages else module.rpartition(".")[0]
        graph[module] = set()
        for node in import_nodes(tree):
            if isinstance(node, ast.Import):
                targets = {alias.name for alias in node.names}
            else:
                above = here.split(".")[: len(here.split(".")) - (node.level - 1)]
                start = [*(above if node.level else []), *([node.module] if node.module else [])]
                base = ".".join(start)
                named = {f"{base}.{alias.name}" for alias in node.names}
                targets = {name if name in trees else base for name in named}
            graph[module] |= {name for name in targets if name in trees} - {module}
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups that reach each other (Tarjan's strongly connected components of two and more)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            members = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(members) > 1:
                found.append(sorted(members))

    for name in graph:
        if name not in order:
            visit(name)
    return found


def room(module: str) -> str:
    """`engine.scoring.plan` → `engine.scoring`; the folder itself is a room of its own."""
    return ".".join(module.split(".")[:2])


def rooms(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for module, targets in graph.items():
        mine = found.setdefault(room(module), set())
        mine |= {room(target) for target in targets} - {room(module)}
    return found


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Imports within `engine/` that do not lead to a floor below."""
    floor = {f"engine.{name}": level for level, names in enumerate(FLOORS) for name in names}
    return [
        f"{module} imports {target}"
        for module, targets in graph.items()
        for target in targets
        if room(module) in floor
        and room(target) in floor
        and room(module) != room(target)
        and floor[room(target)] >= floor[room(module)]
    ]


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return import_graph(ROOT)


def top_level(tree: ast.Module) -> set[str]:
    """First words of everything that a module imports at run time."""
    found = set()
    for node in import_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_folders_import_only_what_they_may():
    for module, tree in parsed(ROOT).items():
        folder = module.split(".")[0]
        assert {name for name in top_level(tree) if name in OURS} <= MAY_IMPORT[folder], module
        if folder == "backtest":  # its types alone
            assert "strategies" not in top_level(tree), module


def test_no_circle_of_modules_or_rooms(graph):
    assert circles(graph) == []
    assert circles(rooms(graph)) == []


def test_no_import_runs_upwards(graph):
    known = {f"engine.{name}" for floor in FLOORS for name in floor}
    found = {room(module) for module in graph if module.startswith("engine.")}
    assert found - {"engine.__main__"} == known, "every room of engine/ has its floor in FLOORS"
    assert upward(graph) == []


@pytest.mark.parametrize(
    ("files", "circle", "up"),
    [
        ({"engine/data/a.py": "from engine.data.b import x", "engine/data/b.py": ""}, False, False),
        (
            {
                "engine/data/a.py": "from engine.data import b",
                "engine/data/b.py": "def f():\n    from .a import x",
            },
            True,
            False,
        ),
        ({"engine/data/a.py": "import engine.scoring.a", "engine/scoring/a.py": ""}, False, True),
        (
            {
                "engine/data/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
                "    import engine.scoring.a",
                "engine/scoring/a.py": "from engine.data.a import y",
            },
            False,
            False,
        ),
        (
            {
                "kronos/fast/a.py": "from ..model import x",
                "kronos/model.py": "from kronos.fast import b",
                "kronos/fast/b.py": "",
            },
            True,
            False,
        ),
    ],
    ids=["downwards", "circle", "upwards", "types only", "circle of rooms"],
)
def test_the_rules_find_what_breaks_them(tmp_path, files, circle, up):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for package in (path.parent, path.parent.parent):
            if package != tmp_path:
                (package / "__init__.py").touch()
    graph = import_graph(tmp_path)
    assert bool(circles(graph) or circles(rooms(graph))) is circle
    assert bool(upward(graph)) is up


def trees(folder: str) -> dict[str, ast.Module]:
    return {name: tree for name, tree in parsed(ROOT).items() if name.split(".")[0] == folder}


def test_kronos_runs_alone():
    allowed = KRONOS_LIBRARIES | {"kronos"} | set(sys.stdlib_module_names)
    for module, tree in trees("kronos").items():
        assert top_level(tree) <= allowed, module


def test_only_the_portfolio_imports_vectorbt():
    users = {name for name, tree in parsed(ROOT).items() if "vectorbt" in top_level(tree)}
    assert users == {"backtest.simulation.portfolio"}


def test_strategies_do_no_input_or_output():
    allowed = {"strategies", "polars", "numpy"} | set(sys.stdlib_module_names)
    forbidden = {"pathlib", "os", "io", "shutil", "socket", "urllib", "subprocess"}
    for module, tree in trees("strategies").items():
        assert top_level(tree) <= allowed - forbidden, module


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

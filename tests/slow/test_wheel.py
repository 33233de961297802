"""The wheel in an empty environment, used from an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from places import ROOT

from engine.__main__ import COMMANDS

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1200)]

PACKAGES = ("kronos", "strategies", "backtest", "engine")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: what an earlier build left beside the sources must not get into it."""
    source, out = tmp_path_factory.mktemp("source") / "project", tmp_path_factory.mktemp("dist")
    beside = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=beside)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", str(out), str(source)], check=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="session")
def bin_folder(wheel, tmp_path_factory) -> Iterator[Path]:
    """Programs of an environment that holds the wheel and what it asks for: 3 GB, for one module."""
    environment = tmp_path_factory.mktemp("environment")
    try:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
        python = environment / "bin" / "python"
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--quiet",
            "--no-compile",
        ]
        subprocess.run([*pip, str(wheel), "-c", str(ROOT / "constraints.txt")], check=True)
        yield python.parent
    finally:
        shutil.rmtree(environment, ignore_errors=True)


@pytest.fixture(scope="session")
def run(bin_folder, tmp_path_factory) -> Run:
    """Runs a program of the environment in a folder that was empty, without the checkout."""
    folder = tmp_path_factory.mktemp("empty")
    apart = ("PYTHONPATH", "VIRTUAL_ENV", "ENGINE_SCORING__CACHE")
    kept = {name: value for name, value in os.environ.items() if name not in apart}

    def start(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [bin_folder / program, *arguments],
            cwd=folder,
            env={**kept, "PATH": f"{bin_folder}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
        )

    return start


@pytest.fixture(scope="session")
def demonstration(run) -> Path:
    """The folder that the main job left."""
    said = run("python", "-m", "engine.backtest")
    assert said.returncode == 0, said.stdout + said.stderr
    where = run("python", "-c", "import os; print(os.getcwd())").stdout.strip()
    return Path(where) / "runs" / "demo"


def test_it_holds_the_packages_their_data_and_no_stand_ins(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    tracked = {p.relative_to(ROOT).as_posix() for name in PACKAGES for p in (ROOT / name).rglob("*")
               if p.is_file() and "__pycache__" not in p.parts}  # fmt: skip
    configs = {p.relative_to(ROOT).as_posix() for p in (ROOT / "configs").rglob("*.yaml")}
    wanted = {name for name in tracked if not name.startswith("engine/bench/private/")}
    wanted |= {f"engine/{name}" for name in configs}
    assert {name for name in held if ".dist-info/" not in name} == wanted
    assert not [name for name in held if "fake" in name or name.startswith("tests/")]


def test_the_demonstration_runs(demonstration):
    names = ("report.html", "gates.json", "metrics.json", "scores.parquet", "manifest.json")
    assert all((demonstration / name).stat().st_size > 0 for name in names)


def test_its_report_opens_in_a_browser(demonstration, chromium, tmp_path):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    page = (demonstration / "report.html").as_uri()
    said = subprocess.run(
        [chromium, *flags, "--dump-dom", page], capture_output=True, text=True, timeout=120
    )
    assert said.returncode == 0, said.stderr
    assert "INCONCLUSIVE" in said.stdout


def test_every_configuration_is_found(run):
    code = "from engine.config.load import CONFIGS; print(*sorted(p.name for p in CONFIGS.rglob('*.yaml')))"
    shipped = sorted(path.name for path in (ROOT / "configs").rglob("*.yaml"))
    assert run("python", "-c", code).stdout.split() == shipped
    said = run("python", "-m", "engine.backtest", "--config", "none.yaml")
    assert said.returncode == 2
    assert "shipped: check.yaml, demo.yaml" in said.stderr


def test_the_console_script_is_the_same_commands(run):
    assert [line.split()[0] for line in run("kronos-engine").stdout.splitlines()
            if line.startswith("  ")] == list(COMMANDS)  # fmt: skip
    for command in COMMANDS:
        said = run("kronos-engine", command, "--help")
        assert said.returncode == 0, said.stderr
        assert said.stdout == run("python", "-m", f"engine.{command}", "--help").stdout
    assert (
        run("kronos-engine", "--version").stdout
        == run("python", "-m", "engine", "--version").stdout
    )
    wrong = run("kronos-engine", "signal")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def test_a_benchmark_of_the_checkout_says_that_it_needs_one(run):
    said = run("kronos-engine", "bench", "chaos")
    assert said.returncode == 2
    assert said.stderr == (
        "error: engine.bench chaos: needs a checkout of the project: "
        "what it is made of is no part of the wheel\n"
    )

"""The decision on compiling, and the benchmark's command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

from kronos.bench import compiling
from kronos.bench.__main__ import replace_section


def outcome(**change: Any) -> dict[str, Any]:
    return {"succeeded": 6, "of": 6, "failures": [], "warm_up_s": 1.0, "median_s": 1.0,
            "largest_error": 0.0, "peak_bytes": 100} | change  # fmt: skip


@pytest.mark.parametrize(
    ("compiled", "passes"),
    [
        (outcome(median_s=0.8), True),
        (outcome(median_s=0.95), False),
        (outcome(median_s=0.8, largest_error=0.1), False),
        (outcome(median_s=0.8, peak_bytes=150), False),
        (outcome(median_s=0.8, succeeded=5), False),
        (outcome(median_s=None, succeeded=0, largest_error=None), False),
    ],
)
def test_compile_criteria(compiled: dict[str, Any], passes: bool) -> None:
    criteria = compiling.decide({"eager": outcome(), "compiled": compiled})
    assert all(criteria.values()) is passes


def test_a_section_is_replaced_in_its_place() -> None:
    text = "# Benchmarks\n\n## Kronos inference\n\nold\n\n## Scoring\n\nkept\n"
    assert replace_section(text, "## Kronos inference\n\nnewer\n") == (
        "# Benchmarks\n\n## Kronos inference\n\nnewer\n\n## Scoring\n\nkept\n"
    )
    assert replace_section("", "## A\n") == "# Benchmarks\n\n## A\n"


def test_the_benchmark_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kronos.bench", "--sizes", "tiny", "--batches", "3", "--steps",
               "2", "--context", "20", "--repeats", "1", "--threads", "1", "--no-memory",
               "--kernel", "stock", "--json", "out.json", "--markdown", "out.md"]  # fmt: skip
    subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, check=True,
        capture_output=True,
    )  # fmt: skip
    (row,) = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert row["windows_with_equal_prices"] == 3
    assert "| tiny | 3 × 2 |" in (tmp_path / "out.md").read_text()

"""The probe, its memory, the compiled attention, the benchmark and the compile decision."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from kronos_golden import Golden

from kronos import KronosPredictor, compilation, kernels
from kronos.bench import compiling, table
from kronos.native import load_library


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "kronos"


def test_the_choice_is_remembered(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "speed_ratios", lambda: {"onednn": 1.0, "native": 1.0})
    assert kernels.choose_kernel() == "stock"
    answers = json.loads((own_cache / "kernels.json").read_text())
    assert list(answers.values()) == ["stock"]
    assert f"torch {torch.__version__}" in next(iter(answers))
    # Remembered: whatever a second timing would say.
    monkeypatch.setattr(kernels, "speed_ratios", lambda: {"onednn": 9.0, "native": 0.0})
    assert kernels.choose_kernel() == "stock"
    assert kernels.choose_kernel(remembered=False) == "onednn"
    assert kernels.choose_kernel("cuda") == "stock"


def test_an_answer_for_another_torch_is_not_taken(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_cache.mkdir()
    (own_cache / "kernels.json").write_text('{"other, torch 1.0": "onednn", "x": 3}')
    monkeypatch.setattr(kernels, "speed_ratios", lambda: {"onednn": 0.0, "native": 0.0})
    assert kernels.choose_kernel() == "stock"
    assert len(json.loads((own_cache / "kernels.json").read_text())) == 3


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_broken_memory_is_as_none(own_cache: Path, content: str) -> None:
    own_cache.mkdir()
    (own_cache / "kernels.json").write_text(content)
    assert kernels.read_answers(own_cache / "kernels.json") == {}


def test_the_probe_measures() -> None:
    ratios = kernels.speed_ratios(repeats=1)
    assert set(ratios) == {"onednn", "native"}
    assert all(ratio >= 0 for ratio in ratios.values())


def test_without_a_compiler_the_kernel_is_absent(
    monkeypatch: pytest.MonkeyPatch, learned: Golden
) -> None:
    load_library.cache_clear()
    kernels.native_fault.cache_clear()
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    try:
        assert kernels.native_fault() == "there is no C compiler (cc)"
        with pytest.raises(ValueError, match="no C compiler"):
            KronosPredictor(
                learned.model(), learned.tokenizer(), "cpu", profile="fast", kernel="stock+native"
            )
    finally:
        load_library.cache_clear()
        kernels.native_fault.cache_clear()


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


@pytest.mark.parametrize("verdict", [None, False, True])
def test_compile_only_where_the_benchmark_passed(
    learned: Golden, monkeypatch: pytest.MonkeyPatch, verdict: bool | None
) -> None:
    if verdict is not None:
        compilation.remember(torch.device("cpu"), verdict)
    monkeypatch.setenv("KRONOS_COMPILE", "1")
    compiled: list[object] = []
    monkeypatch.setattr(compilation, "compile_steps", compiled.append)
    if verdict:
        KronosPredictor(learned.model(), learned.tokenizer(), "cpu")
    else:
        said = "did not pass" if verdict is False else "has not been run"
        with pytest.warns(UserWarning, match=f"KRONOS_COMPILE=1 is ignored.*{said}"):
            KronosPredictor(learned.model(), learned.tokenizer(), "cpu")
    assert len(compiled) == bool(verdict)


def test_a_section_is_replaced_in_its_place() -> None:
    text = "# Benchmarks\n\n## Kronos inference\n\nold\n\n## Scoring\n\nkept\n"
    assert table.replace_section(text, "## Kronos inference\n\nnewer\n") == (
        "# Benchmarks\n\n## Kronos inference\n\nnewer\n\n## Scoring\n\nkept\n"
    )
    assert table.replace_section("", "## A\n") == "# Benchmarks\n\n## A\n"


def test_the_benchmark_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kronos.bench", "--sizes", "tiny", "--batches", "3", "--steps",
               "2", "--context", "20", "--repeats", "1", "--threads", "1", "--no-memory",
               "--kernel", "stock", "--json", "out.json", "--markdown", "out.md"]  # fmt: skip
    root = Path(__file__).parents[2]
    subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(root), "PATH": ""}, check=True,
        capture_output=True,
    )  # fmt: skip
    (row,) = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert row["windows_with_equal_prices"] == 3
    assert "| tiny | 3 × 2 |" in (tmp_path / "out.md").read_text()

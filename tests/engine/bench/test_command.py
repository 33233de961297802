"""The benchmark command: what it lists, refuses and writes."""

from __future__ import annotations

import importlib
import json
import pkgutil

import engine.bench.__main__ as command
import engine.bench.private
from engine.bench.__main__ import _with_section, main
from engine.bench.result import BenchResult, hardware


def test_an_unknown_benchmark_is_refused_by_name(capsys):
    assert main(["no-such-thing"]) == 2
    assert "no-such-thing" in capsys.readouterr().err


def test_benchmarks_of_the_checkout_are_known_without_it_and_say_so(capsys, monkeypatch):
    modules = pkgutil.iter_modules(engine.bench.private.__path__, "engine.bench.private.")
    benchmarks = [m.name for m in modules if hasattr(importlib.import_module(m.name), "SUMMARY")]
    assert [name.rpartition(".")[2] for name in benchmarks] == list(command.PRIVATE)
    there = command.find_spec
    monkeypatch.setattr(command, "find_spec", lambda m: None if "private" in m else there(m))
    assert main(["chaos"]) == 2
    assert capsys.readouterr().err.startswith("error: engine.bench chaos: needs a checkout")


def test_every_benchmark_is_listed_with_what_it_measures(capsys):
    assert main([]) == 0
    listed = capsys.readouterr().out.splitlines()[3:]
    assert {"quarter", "scoring"} <= {line.split()[0] for line in listed}
    assert all(len(line.split()) > 3 for line in listed)


def test_a_section_is_appended_once_and_replaced_after(tmp_path):
    path = tmp_path / "B.md"
    path.write_text("# Benchmarks\n\n## other\n\nkept\n")
    first = BenchResult("demo", ["case", "seconds"], [["a", 1.25]], ["one run"])
    path.write_text(_with_section(path, first))
    second = BenchResult("demo", ["case", "seconds"], [["a", 9.5]], ["one run"])
    text = _with_section(path, second)
    assert text.count("engine.bench demo") == 1
    assert "9.5" in text
    assert "1.25" not in text
    assert "kept" in text


def test_json_rows_name_their_columns_and_the_hardware():
    content = BenchResult("demo", ["case", "seconds"], [["a", 1.25]]).to_json()
    assert json.loads(json.dumps(content))["rows"] == [{"case": "a", "seconds": 1.25}]
    assert content["hardware"]["cores"] == hardware()["cores"]

"""YAML that is read: a key given twice would drop the first in silence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from places import ROOT

from engine.__main__ import main
from engine.config import load_settings
from engine.config.load import load_tree
from engine.data.check.limits import load_limits, load_symbol_changes
from engine.decisions.strategies import load_strategy
from engine.errors import UsageError
from engine.train.settings import TrainSettings
from engine.yaml_file import parse_yaml, read_yaml

TWICE = "costs:\n  aum: 1\n  fees: 2\n  'aum': 3\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "key 'a' is given twice, in lines 1 and 3; keep one"),
        (TWICE, "key 'aum' is given twice, in lines 2 and 4; keep one"),
        ("- {a: {b: 1}}\n- {a: {b: 1, b: 2}}\n", "key 'b' is given twice, in lines 2 and 2"),
        ("1: a\n0x1: b\n", "key '0x1' is given twice, in lines 1 and 2"),
        ("when: 2020-13-45\n", "month must be in 1..12"),
        ("[" * 3000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_one_line(text, said):
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        parse_yaml(text)
    assert "\n" not in str(error.value)


def test_a_key_that_is_merged_in_may_be_given_anew():
    merged = parse_yaml("base: &base {a: 1, b: 2}\nmine: {<<: *base, a: 3}\nlist: [*base, *base]\n")
    assert merged["mine"] == {"a": 3, "b": 2}


@pytest.mark.parametrize(
    "read",
    [
        read_yaml,
        lambda path: load_settings(config=path, environment={}),
        lambda path: load_tree(TrainSettings, path, {}, {}),
        load_limits,
        load_symbol_changes,
        lambda path: load_strategy(str(path), {}),
    ],
    ids=["any", "configuration", "training", "limits", "symbol changes", "steps"],
)
def test_every_reader_names_file_key_and_lines(tmp_path, read):
    path = tmp_path / "mine.yaml"
    path.write_text(TWICE)
    with pytest.raises(UsageError, match="'aum' is given twice, in lines 2 and 4") as error:
        read(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("flag", ["--config", "--evaluation.gates"])
def test_a_backtest_of_such_a_file_ends_with_code_2(tmp_path, capsys, flag):
    path = tmp_path / "mine.yaml"
    path.write_text(TWICE)
    assert main(["backtest", flag, str(path), "--run.dir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path}: ")
    assert "key 'aum' is given twice" in said
    assert said.count("\n") == 1


def test_a_value_in_a_flag_is_held_to_the_same_rule():
    with pytest.raises(UsageError, match=r"strategy\.grid.*'k' is given twice"):
        load_settings({"strategy.grid": "{k: [1], k: [2]}"}, environment={})


def test_nothing_else_reads_yaml():
    reads = re.compile(r"\byaml\.(?:safe_|full_|unsafe_)?load|from yaml import")
    files = [path for folder in ("engine", "kronos", "strategies", "backtest")
             for path in (ROOT / folder).rglob("*.py")]  # fmt: skip
    found = [path for path in files if reads.search(path.read_text(encoding="utf-8"))]
    assert [path.relative_to(ROOT) for path in found] == [Path("engine/yaml_file.py")]

"""The one command that starts the others."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest
from places import ROOT

from engine.__main__ import COMMANDS, main


def test_it_lists_every_command_there_is(capsys):
    assert main([]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:2] == "  "]
    assert listed == list(COMMANDS)
    assert sorted(listed) == sorted(p.parent.name for p in ROOT.glob("engine/*/__main__.py"))


@pytest.mark.parametrize("command", ["backtest", "data"])
def test_help_is_that_of_the_command_itself(command):
    asked = [["engine", command], [f"engine.{command}"]]
    texts = [
        subprocess.run(
            [sys.executable, "-m", *names, "--help"], capture_output=True, text=True, check=True
        ).stdout
        for names in asked
    ]
    assert f"python -m engine.{command}" in texts[0]
    assert texts[0] == texts[1]


def test_exit_codes_and_settings_pass_through(capsys):
    assert main(["backtest", "--scoring.actor", "2"]) == 2
    assert "did you mean 'scoring.actors'" in capsys.readouterr().err


def test_an_unknown_command_gets_the_nearest_name_in_one_line(capsys):
    assert main(["backtset"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "did you mean 'backtest'?" in said.err


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == version("kronos-engine")


def test_starting_loads_no_command():
    code = "import sys, engine.__main__ as m; m.main([])"
    code += (
        "; print([n for n in sys.modules if n.startswith('engine.') and n != 'engine.__main__'])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"

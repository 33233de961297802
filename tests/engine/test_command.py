"""Whatever goes wrong, a command says so in one line."""

from __future__ import annotations

import logging

import pytest

from engine.command import run_command
from engine.errors import UsageError


def ends(capsys, error: BaseException) -> tuple[int, str]:
    def command() -> int:
        raise error

    return run_command(command), capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "shown"),
    [("\n", r"\n"), ("a\r\nb", r"a\r\nb"), ("\x1b[31mred", r"\x1b[31mred"), ("Zürich", "Zürich"),
     ("a  b", "a  b"), ("\ud800", r"\ud800")],
)  # fmt: skip
def test_a_name_out_of_a_file_neither_breaks_the_line_nor_steers_the_terminal(capsys, name, shown):
    code, said = ends(capsys, UsageError(f"bars.csv: column {name} is unknown"))
    assert (code, said) == (2, f"error: bars.csv: column {shown} is unknown\n")


def test_a_failure_of_several_lines_is_one(capsys):
    code, said = ends(capsys, RuntimeError("first\n  second\n\n"))
    assert code == 1
    assert said.splitlines()[0] == "failed: first second"
    code, said = ends(capsys, RuntimeError())
    assert said.startswith("failed: RuntimeError\n")


def test_a_warning_is_one_line_too(capsys):
    def command() -> int:
        logging.getLogger("engine.data").warning("ticker %s: no bars", "A\nB")
        return 0

    assert run_command(command) == 0
    assert r"warning: ticker A\nB: no bars" + "\n" in capsys.readouterr().err


def test_ctrl_c_says_that_nothing_is_lost(capsys):
    code, said = ends(capsys, KeyboardInterrupt())
    assert code == 130
    assert "goes on where this one stopped" in said

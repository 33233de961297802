"""What long work says on a terminal and in a log."""

from __future__ import annotations

import io

from rich.console import Console

from engine.progress import WorkProgress


def test_a_log_gets_plain_lines_with_rate_and_what_was_given_up():
    out = io.StringIO()
    with WorkProgress(Console(file=out), "scoring", 40, "windows") as progress:
        progress.update(10)
        progress.update(38, failed=2)
    (line,) = out.getvalue().splitlines()
    assert line.startswith("scoring: 38/40  ")
    assert "windows/s" in line
    assert line.endswith("2 given up")


def test_a_terminal_gets_a_bar_with_rate_and_time_left():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    with WorkProgress(console, "scoring", 40, "windows") as progress:
        progress.update(40)
    assert "40/40" in out.getvalue()
    assert "windows/s" in out.getvalue()


def test_a_failure_inside_says_nothing_of_being_done():
    out = io.StringIO()
    try:
        with WorkProgress(Console(file=out), "scoring", 40, "windows"):
            raise ValueError
    except ValueError:
        pass
    assert out.getvalue() == ""

"""A person's commands to a running loop."""

from __future__ import annotations

import pytest

from engine.errors import UsageError
from engine.live.control import Control


def test_halt_holds_until_resume_and_keeps_its_first_reason(tmp_path):
    control = Control(tmp_path)
    assert control.halted() is None
    control.halt("too hot", "Ada")
    control.halt("too cold", "Bob")
    assert (control.halted().reason, control.halted().by) == ("too hot", "Ada")
    assert control.resume()
    assert control.halted() is None
    assert not control.resume()


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "no reason given"), ("stop it", "stop it"), ("{", "{"), ("[1]", "[1]")],
)
def test_any_file_of_the_name_halts(tmp_path, text, reason):
    (tmp_path / "HALT").write_text(text)
    assert Control(tmp_path).halted().reason == reason


def test_what_is_acknowledged_is_what_was_pending(tmp_path):
    control = Control(tmp_path)
    with pytest.raises(UsageError, match="nothing waits"):
        control.acknowledge()
    control.ask({"config_hash": "abc"})
    control.ask({"model_hash": "def"})
    assert control.acknowledge() == {"config_hash": "abc", "model_hash": "def"}
    (command,) = control.commands()
    assert command.detail == {"config_hash": "abc", "model_hash": "def"}
    control.taken(command)
    assert control.commands() == []
    assert control.pending() == {}


def test_a_command_given_again_meanwhile_stays(tmp_path):
    control = Control(tmp_path)
    control.resume()
    (first,) = control.commands()
    control.resume()
    control.taken(first)
    (second,) = control.commands()
    assert second.id != first.id

"""The kill switch: a file."""

from __future__ import annotations

from engine.live.control import Halt
from engine.live.guards.event import GuardEvent, tripped

__all__ = ["kill_switch"]


def kill_switch(halt: Halt | None) -> list[GuardEvent]:
    """The halt file is there."""
    if halt is None:
        return []
    return tripped(
        "kill_switch",
        f"halted by {halt.by}: {halt.reason}; python -m engine.live resume goes on",
        persistent=True,
    )

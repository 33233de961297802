"""Commands to a running loop, as files in its run folder.

The loop holds the state's lock, so a person speaks to it by files: `HALT` (the kill switch: while
it is there nothing is sent; any file of that name will do), and `resume.json` and
`acknowledge.json`, which the loop takes up and removes. `pending.json` is the loop's: what it
waits for an acknowledgement of.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.errors import UsageError
from engine.files import write_json

__all__ = ["Command", "Control", "Halt"]

HALT, PENDING = "HALT", "pending.json"
Name = Literal["resume", "acknowledge"]


@dataclass(frozen=True)
class Halt:
    """Why nothing is sent, and who said so."""

    reason: str
    by: str


@dataclass(frozen=True)
class Command:
    """A person's word that the loop has not taken up yet; `id` tells it from every other."""

    id: str
    name: Name
    detail: dict[str, Any]


class Control:
    """The control files of a run folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def halted(self) -> Halt | None:
        """The halt in force. A file that says nothing readable halts too."""
        path = self._folder / HALT
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            return Halt("the file HALT cannot be read", "a file")
        try:
            found = json.loads(text)
            return Halt(str(found["reason"]), str(found["by"]))
        except (ValueError, TypeError, KeyError):
            return Halt(" ".join(text.split())[:300] or "no reason given", "the file HALT")

    def halt(self, reason: str, by: str) -> None:
        """Send nothing from now on. The first reason stays until `resume`."""
        if self.halted() is None:
            write_json(self._folder / HALT, {"reason": reason, "by": by})

    def resume(self) -> bool:
        """Take the halt away; False if there was none."""
        found = self.halted() is not None
        self._say("resume", {})
        (self._folder / HALT).unlink(missing_ok=True)
        return found

    def acknowledge(self) -> dict[str, Any]:
        """Acknowledge what is pending, and return it.

        Raises UsageError if nothing is.
        """
        pending = self.pending()
        if not pending:
            raise UsageError(
                f"{self._folder}: nothing waits to be acknowledged; a changed configuration, model "
                "or position does when a guard has stopped at it"
            )
        self._say("acknowledge", pending)
        return pending

    def pending(self) -> dict[str, Any]:
        """What waits to be acknowledged."""
        return self._read(PENDING) or {}

    def ask(self, what: Mapping[str, Any]) -> None:
        """Let `what` wait to be acknowledged, beside what does already."""
        write_json(self._folder / PENDING, self.pending() | dict(what))

    def commands(self) -> list[Command]:
        """Commands to take up."""
        names: tuple[Name, ...] = ("acknowledge", "resume")
        found = []
        for name in names:
            content = self._read(f"{name}.json")
            if content and "id" in content:
                found.append(Command(str(content["id"]), name, dict(content.get("detail") or {})))
        return found

    def taken(self, command: Command) -> None:
        """The command is in the state: its file can go."""
        path = self._folder / f"{command.name}.json"
        content = self._read(path.name)
        if content and content.get("id") == command.id:
            path.unlink(missing_ok=True)
        if command.name == "acknowledge" and self.pending() == command.detail:
            (self._folder / PENDING).unlink(missing_ok=True)

    def _say(self, name: Name, detail: Mapping[str, Any]) -> None:
        write_json(self._folder / f"{name}.json", {"id": uuid.uuid4().hex, "detail": dict(detail)})

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            content = json.loads((self._folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

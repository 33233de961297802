"""Which phase of which session is done, which guard spoke when, and what a person said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from engine.live.control import Command
from engine.live.guards.event import GuardEvent
from engine.live.state.database import Database, aware, naive

__all__ = ["Cycles", "Mark", "MarkStatus"]

# done: it did what it is for; dry_run: it would have; missed: its time passed without it;
# halted: a guard stopped it.
MarkStatus = Literal["done", "dry_run", "missed", "halted"]


@dataclass(frozen=True)
class Mark:
    """How a phase ended, and when (UTC)."""

    status: MarkStatus
    at: datetime
    detail: str


class Cycles:
    """The tables cycles, guard_events and commands."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def mark(
        self, session: date, phase: str, status: MarkStatus, at: datetime, detail: str = ""
    ) -> None:
        """Say how a phase ended, in place of what was said before."""
        self._database.execute(
            "INSERT OR REPLACE INTO cycles VALUES (?, ?, ?, ?, ?)",
            [session, phase, status, naive(at), detail],
        )

    def marks(self, session: date) -> dict[str, Mark]:
        """Phase to how it ended."""
        rows = self._database.rows(
            "SELECT phase, status, ended, detail FROM cycles WHERE session = ?", [session]
        )
        found = {}
        for phase, status, at, detail in rows:
            moment = aware(at)
            assert moment is not None
            found[phase] = Mark(status, moment, detail)
        return found

    def last_session(self) -> date | None:
        """The latest session with a phase that ended."""
        found = self._database.rows("SELECT max(session) FROM cycles")[0][0]
        return found if isinstance(found, date) else None

    def record_guards(
        self, session: date, phase: str, events: Sequence[GuardEvent], at: datetime
    ) -> None:
        """Write down guards that tripped."""
        rows = [
            (naive(at), session, phase, e.guard, e.ticker, e.explanation, e.persistent)
            for e in events
        ]
        with self._database.transaction():
            self._database.insert("guard_events", rows)

    def guards(self, session: date) -> list[tuple[str, GuardEvent]]:
        """(phase, event) of the session, in the order they came."""
        rows = self._database.rows(
            """SELECT phase, guard, explanation, ticker, persistent FROM guard_events
            WHERE session = ? ORDER BY tripped""",
            [session],
        )
        return [(row[0], GuardEvent(*row[1:])) for row in rows]

    def take(self, command: Command, at: datetime) -> bool:
        """Write a person's word down; False if it was before."""
        if self._database.rows("SELECT 1 FROM commands WHERE id = ?", [command.id]):
            return False
        row = (command.id, command.name, json.dumps(command.detail), naive(at))
        self._database.insert("commands", [row])
        return True

    def last_command(self, name: str | None = None) -> datetime | None:
        """When a person last said something, or last said `name`."""
        query = "SELECT max(taken) FROM commands WHERE name = coalesce(?, name)"
        return aware(self._database.rows(query, [name])[0][0])

    def acknowledged(self, key: str) -> set[str]:
        """Everything that was acknowledged under `key`, ever."""
        rows = self._database.rows("SELECT detail FROM commands WHERE name = 'acknowledge'")
        details: list[dict[str, Any]] = [json.loads(row[0]) for row in rows]
        return {str(detail[key]) for detail in details if key in detail}

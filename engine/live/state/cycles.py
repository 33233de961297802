"""The cycle of each session: its plan, how its phases ended, what guards and a person said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, Literal

import polars as pl

from engine.live.control import Command
from engine.live.guards.event import GuardEvent
from engine.live.state.database import Database, aware, naive, utc

__all__ = ["Cycles", "Mark", "MarkStatus", "Plan", "Plans"]

_COLUMNS = (
    "session, decided_on, kind, plan_hash, config_hash, model_hash, data_hash, forecaster, "
    "fallback_reason, made"
)
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
        return {phase: Mark(status, utc(at), detail) for phase, status, at, detail in rows}

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


@dataclass(frozen=True)
class Plan:
    """What to hold in `session`, decided with data up to `asof`.

    Attributes
    ----------
    kind
        Rebalance: trade to `targets`; hold: keep what is held.
    targets
        Ticker, weight, close: every name with a close at asof, weight 0 for the names that are not
        to be held. Without rows where nothing was scored.
    plan_hash
        Of asof, weights and the configuration; part of every order's id.
    model_hash
        Of the forecaster; a hold has the last rebalance's.
    made
        When it was decided, UTC.
    """

    session: date
    asof: date
    kind: Literal["rebalance", "hold"]
    plan_hash: str
    config_hash: str
    model_hash: str
    data_hash: str
    forecaster: str
    fallback_reason: str | None
    made: datetime
    targets: pl.DataFrame

    @property
    def weights(self) -> dict[str, float]:
        """Target weights other than 0, by ticker."""
        rows = self.targets.filter(pl.col("weight") != 0)
        return dict(zip(rows["ticker"], rows["weight"], strict=True))

    @property
    def closes(self) -> dict[str, float]:
        """The close at asof, by ticker."""
        return dict(zip(self.targets["ticker"], self.targets["close"], strict=True))


class Plans:
    """The tables plans, targets and left_out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, plan: Plan) -> None:
        """Write a plan in place of the session's former one."""
        with self._database.transaction():
            self._database.execute("DELETE FROM targets WHERE session = ?", [plan.session])
            *head, made, targets = (getattr(plan, field.name) for field in fields(plan))
            marks = ", ".join("?" * (len(head) + 1))
            self._database.execute(
                f"INSERT OR REPLACE INTO plans ({_COLUMNS}) VALUES ({marks})", [*head, naive(made)]
            )
            rows = targets.select("ticker", "weight", "close").iter_rows()
            self._database.insert("targets", [(plan.session, *row) for row in rows])

    def of(self, session: date) -> Plan | None:
        """The session's plan, or None."""
        return self._one("session = ?", session)

    def last(self, before: date) -> Plan | None:
        """The plan of the last session before `before` that has one."""
        return self._one("session < ?", before)

    def last_rebalance(self, before: date, forecaster: str | None = None) -> Plan | None:
        """The last rebalance plan of a session before `before`; of one forecaster if named."""
        if forecaster is None:
            return self._one("session < ? AND kind = 'rebalance'", before)
        return self._one(
            "session < ? AND kind = 'rebalance' AND forecaster = ?", before, forecaster
        )

    def record_left_out(self, session: date, reasons: Mapping[str, str]) -> None:
        """Why names of the plan are not traded, in place of what was said before."""
        with self._database.transaction():
            self._database.execute("DELETE FROM left_out WHERE session = ?", [session])
            rows = [(session, ticker, reason) for ticker, reason in sorted(reasons.items())]
            self._database.insert("left_out", rows)

    def left_out(self, session: date) -> dict[str, str]:
        """Ticker to the reason why it is not traded in the session."""
        query = "SELECT ticker, reason FROM left_out WHERE session = ? ORDER BY ticker"
        return dict(self._database.rows(query, [session]))

    def _one(self, condition: str, *values: date | str) -> Plan | None:
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM plans WHERE {condition} ORDER BY session DESC LIMIT 1",
            values,
        )
        if not rows:
            return None
        *first, made = rows[0]
        targets = self._database.rows(
            "SELECT ticker, weight, close FROM targets WHERE session = ? ORDER BY ticker",
            [first[0]],
        )
        frame = pl.DataFrame(
            targets,
            schema={"ticker": pl.String, "weight": pl.Float64, "close": pl.Float64},
            orient="row",
        )
        return Plan(*[*first, utc(made), frame])

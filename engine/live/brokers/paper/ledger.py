"""The file of a paper account: cash, positions, orders and fills, in SQLite.

Whatever changes together changes in one transaction: a process that dies leaves the account as
before or as after, never between. Money is kept in millionths and shares in billionths (the
finest a broker takes), so sums are exact whatever their order.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.live.brokers.broker import Fill, Order, OrderReport, OrderStatus

__all__ = ["MILLIONTHS", "NANOS", "Entry", "Holding", "Ledger"]

MILLIONTHS = 1_000_000
NANOS = 1_000_000_000
_VERSION = "1"

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE positions (
    ticker TEXT PRIMARY KEY, nanos INTEGER NOT NULL, average REAL NOT NULL, mark REAL NOT NULL,
    acted TEXT NOT NULL);
CREATE TABLE orders (
    number INTEGER PRIMARY KEY, client_id TEXT UNIQUE NOT NULL, ticker TEXT NOT NULL,
    side TEXT NOT NULL, nanos INTEGER NOT NULL, price_limit REAL, status TEXT NOT NULL,
    filled INTEGER NOT NULL, average REAL, updated TEXT NOT NULL, expires TEXT NOT NULL,
    reason TEXT);
CREATE TABLE fills (
    number INTEGER PRIMARY KEY, fill_id TEXT UNIQUE NOT NULL, client_id TEXT NOT NULL,
    ticker TEXT NOT NULL, side TEXT NOT NULL, nanos INTEGER NOT NULL, price REAL NOT NULL,
    ts TEXT NOT NULL, fees INTEGER NOT NULL);
CREATE TABLE cash (
    number INTEGER PRIMARY KEY, ts TEXT NOT NULL, kind TEXT NOT NULL, ticker TEXT,
    millionths INTEGER NOT NULL);
"""


@dataclass(frozen=True)
class Holding:
    """A position: signed `nanos` of shares, average cost, last price seen, and the date up to
    which splits and dividends are in."""

    nanos: int
    average: float
    mark: float
    acted: date


@dataclass(frozen=True)
class Entry:
    """An order as kept: what was sent, and what the broker says of it."""

    order: Order
    report: OrderReport
    nanos: int
    expires: datetime


class Ledger:
    """The account's file; created with `cash` where there is none.

    Raises
    ------
    UsageError
        The file is no paper account, or one of another version.
    """

    def __init__(
        self,
        path: Path,
        *,
        cash: float,
        now: datetime,
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._file = connect(path, isolation_level=None, timeout=30.0, check_same_thread=False)
        try:
            self._prepare(cash, now)
        except sqlite3.OperationalError:
            self._file.close()
            raise
        except sqlite3.DatabaseError as error:
            self._file.close()
            raise UsageError(f"{path}: not a paper account ({error}); name another file") from None
        except BaseException:
            self._file.close()
            raise

    def _prepare(self, cash: float, now: datetime) -> None:
        self._file.execute("PRAGMA synchronous = FULL")
        with self.transaction():
            if not self._rows("SELECT 1 FROM sqlite_master"):
                self._create(cash, now)
            tables = {name for (name,) in self._rows("SELECT name FROM sqlite_master")}
            version = self._meta("version") if "meta" in tables else None
        if version != _VERSION:
            raise sqlite3.DatabaseError(f"its version is {version}, not {_VERSION}")

    def _create(self, cash: float, now: datetime) -> None:
        for statement in filter(str.strip, _TABLES.split(";")):
            self._file.execute(statement)
        self._set_meta("version", _VERSION)
        self.settle_until(now)
        self.pay(now, "deposit", None, round(cash * MILLIONTHS))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it is kept, or none: also after a crash."""
        with self._lock:
            self._file.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._file.execute("COMMIT")
            except BaseException:
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def cash(self) -> int:
        """Millionths: the sum of everything ever paid in or out."""
        return int(self._rows("SELECT coalesce(sum(millionths), 0) FROM cash")[0][0])

    def pay(self, ts: datetime, kind: str, ticker: str | None, millionths: int) -> None:
        """Pay in, or out where negative."""
        if millionths:
            values = (_text(ts), kind, ticker, millionths)
            self._file.execute(
                "INSERT INTO cash (ts, kind, ticker, millionths) VALUES (?, ?, ?, ?)", values
            )

    def settled(self) -> datetime:
        """Up to when opens and closes have been dealt with."""
        return datetime.fromisoformat(self._meta("settled"))

    def settle_until(self, now: datetime) -> None:
        """Opens and closes up to `now` have been dealt with."""
        self._set_meta("settled", _text(now))

    def holdings(self) -> dict[str, Holding]:
        """Open positions, sorted by ticker."""
        rows = self._rows("SELECT ticker, nanos, average, mark, acted FROM positions ORDER BY 1")
        return {
            ticker: Holding(nanos, average, mark, date.fromisoformat(acted))
            for ticker, nanos, average, mark, acted in rows
        }

    def hold(self, ticker: str, holding: Holding) -> None:
        """The position is now this; one of 0 shares is gone."""
        if holding.nanos == 0:
            self._file.execute("DELETE FROM positions WHERE ticker = ?", (ticker,))
            return
        self._file.execute(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)",
            (ticker, holding.nanos, holding.average, holding.mark, holding.acted.isoformat()),
        )

    def entry(self, client_id: str) -> Entry | None:
        """The order of this id."""
        found = self._entries("client_id = ?", client_id)
        return found[0] if found else None

    def waiting(self) -> list[Entry]:
        """Orders that are not closed, in the order they came."""
        return self._entries("status = 'accepted'")

    def take(self, order: Order, nanos: int, now: datetime, expires: datetime) -> Entry:
        """Write a new order down as accepted."""
        values = (order.client_id, order.ticker, order.side, nanos, order.limit)
        self._file.execute(
            "INSERT INTO orders (client_id, ticker, side, nanos, price_limit, status, filled,"
            " updated, expires) VALUES (?, ?, ?, ?, ?, 'accepted', 0, ?, ?)",
            (*values, _text(now), _text(expires)),
        )
        entry = self.entry(order.client_id)
        assert entry is not None
        return entry

    def finish(
        self, entry: Entry, status: OrderStatus, now: datetime, reason: str | None = None
    ) -> Entry:
        """Close an order without an execution."""
        self._file.execute(
            "UPDATE orders SET status = ?, updated = ?, reason = ? WHERE client_id = ?",
            (status, _text(now), reason, entry.order.client_id),
        )
        report = replace(entry.report, status=status, updated=now, reason=reason)
        return replace(entry, report=report)

    def execute(self, entry: Entry, price: float, fees: int, ts: datetime) -> None:
        """The whole order at one price; `fees` in millionths."""
        order = entry.order
        self._file.execute(
            "UPDATE orders SET status = 'filled', filled = nanos, average = ?, updated = ?"
            " WHERE client_id = ?",
            (price, _text(ts), order.client_id),
        )
        self._file.execute(
            "INSERT INTO fills (fill_id, client_id, ticker, side, nanos, price, ts, fees)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                f"{order.client_id}:1",
                order.client_id,
                order.ticker,
                order.side,
                entry.nanos,
                price,
                _text(ts),
                fees,
            ),
        )

    def fills(self, since: datetime) -> list[Fill]:
        """Executions at or after `since`, oldest first."""
        rows = self._rows(
            "SELECT fill_id, client_id, ticker, side, nanos, price, ts, fees FROM fills"
            " WHERE ts >= ? ORDER BY ts, number",
            _text(since),
        )
        return [_fill(row) for row in rows]

    def _entries(self, where: str, *values: str) -> list[Entry]:
        rows = self._rows(
            "SELECT number, client_id, ticker, side, nanos, price_limit, status, filled, average,"
            f" updated, expires, reason FROM orders WHERE {where} ORDER BY number",
            *values,
        )
        return [_entry(row) for row in rows]

    def _rows(self, query: str, *values: str) -> list[tuple]:
        with self._lock:
            return self._file.execute(query, values).fetchall()

    def _meta(self, key: str) -> str:
        return str(self._rows("SELECT value FROM meta WHERE key = ?", key)[0][0])

    def _set_meta(self, key: str, value: str) -> None:
        self._file.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _fill(row: tuple[Any, ...]) -> Fill:
    fill_id, client_id, ticker, side, nanos, price, ts, fees = row
    moment = datetime.fromisoformat(ts)
    return Fill(fill_id, client_id, ticker, side, nanos / NANOS, price, moment, fees / MILLIONTHS)


def _entry(row: tuple[Any, ...]) -> Entry:
    number, client_id, ticker, side, nanos, limit, status, *rest = row
    filled, average, updated, expires, reason = rest
    order = Order(client_id, ticker, side, nanos / NANOS, limit)
    report = OrderReport(
        client_id=client_id,
        broker_id=f"paper-{number}",
        ticker=ticker,
        side=side,
        quantity=nanos / NANOS,
        filled=filled / NANOS,
        average_price=average,
        status=status,
        updated=datetime.fromisoformat(updated),
        reason=reason,
    )
    return Entry(order, report, nanos, datetime.fromisoformat(expires))


def _text(moment: datetime) -> str:
    # Always with microseconds, so that text sorts as time does.
    return moment.astimezone(UTC).isoformat(timespec="microseconds")

"""The DuckDB file below the state: its tables, and transactions that may contain each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.errors import UsageError

__all__ = ["Database", "aware", "naive", "utc"]

# Times are TIMESTAMP in UTC: reading TIMESTAMPTZ would need pytz.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS plans (
    session DATE PRIMARY KEY, decided_on DATE, kind VARCHAR, plan_hash VARCHAR, config_hash VARCHAR,
    model_hash VARCHAR, data_hash VARCHAR, forecaster VARCHAR, fallback_reason VARCHAR,
    made TIMESTAMP);
CREATE TABLE IF NOT EXISTS targets (
    session DATE, ticker VARCHAR, weight DOUBLE, close DOUBLE);
CREATE TABLE IF NOT EXISTS left_out (session DATE, ticker VARCHAR, reason VARCHAR);
CREATE TABLE IF NOT EXISTS orders (
    client_id VARCHAR PRIMARY KEY, session DATE, ticker VARCHAR, side VARCHAR, quantity DOUBLE,
    price_limit DOUBLE, stage INTEGER, leg VARCHAR, attempt INTEGER, rank INTEGER,
    plan_hash VARCHAR, reference DOUBLE, created TIMESTAMP, sent TIMESTAMP, status VARCHAR,
    filled DOUBLE, average_price DOUBLE, broker_id VARCHAR, updated TIMESTAMP, reason VARCHAR);
CREATE TABLE IF NOT EXISTS order_events (
    client_id VARCHAR, recorded TIMESTAMP, updated TIMESTAMP, status VARCHAR, filled DOUBLE,
    average_price DOUBLE, reason VARCHAR);
CREATE TABLE IF NOT EXISTS fills (
    fill_id VARCHAR PRIMARY KEY, client_id VARCHAR, ticker VARCHAR, side VARCHAR,
    quantity DOUBLE, price DOUBLE, fees DOUBLE, ts TIMESTAMP);
CREATE TABLE IF NOT EXISTS positions (
    ticker VARCHAR PRIMARY KEY, quantity DOUBLE, average_price DOUBLE);
CREATE TABLE IF NOT EXISTS adoptions (adopted TIMESTAMP, positions VARCHAR);
CREATE TABLE IF NOT EXISTS equity (
    session DATE, phase VARCHAR, ts TIMESTAMP, equity DOUBLE, cash DOUBLE,
    PRIMARY KEY (session, phase));
CREATE TABLE IF NOT EXISTS guard_events (
    tripped TIMESTAMP, session DATE, phase VARCHAR, guard VARCHAR, ticker VARCHAR,
    explanation VARCHAR, persistent BOOLEAN);
CREATE TABLE IF NOT EXISTS cycles (
    session DATE, phase VARCHAR, status VARCHAR, ended TIMESTAMP, detail VARCHAR,
    PRIMARY KEY (session, phase));
CREATE TABLE IF NOT EXISTS commands (
    id VARCHAR PRIMARY KEY, name VARCHAR, detail VARCHAR, taken TIMESTAMP);
"""


class Database:
    """One connection, for one process at a time.

    Raises UsageError if the file is not a DuckDB database this version can read.
    """

    def __init__(self, path: Path) -> None:
        import duckdb

        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = duckdb.connect(
                str(path), config={"threads": 1, "memory_limit": "512MB"}
            )
        except duckdb.Error as error:
            reason = " ".join(str(error).split())[:300]
            raise UsageError(f"{path}: the live state cannot be opened: {reason}") from None
        self._depth = 0
        with self.transaction():
            self._connection.execute(_SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes inside, or none; one inside another belongs to the outer one."""
        if self._depth:
            yield
            return
        self._connection.execute("BEGIN")
        self._depth = 1
        try:
            yield
        except BaseException:
            self._depth = 0
            self._connection.execute("ROLLBACK")
            raise
        self._depth = 0
        self._connection.execute("COMMIT")

    def execute(self, query: str, values: Sequence[Any] = ()) -> None:
        """Run a statement."""
        self._connection.execute(query, list(values))

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Append rows, each in the order of the table's columns."""
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self._connection.executemany(
                f"INSERT INTO {table} VALUES ({marks})", [list(row) for row in rows]
            )

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return self._connection.execute(query, list(values)).fetchall()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def naive(moment: datetime | None) -> datetime | None:
    """As the database keeps it: UTC without a zone."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def aware(moment: datetime | None) -> datetime | None:
    """As the engine uses it: with its zone, UTC."""
    return None if moment is None else moment.replace(tzinfo=UTC)


def utc(moment: datetime | None) -> datetime:
    """As `aware`, of a column that is never empty."""
    assert moment is not None
    return moment.replace(tzinfo=UTC)

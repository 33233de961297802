"""The database of a price store: its tables, and queries that see a frame of ours.

`bars` and `series` hold rows as recorded: null volume or amount where the source had none, and
`adj_factor` as the source gave it. `bar` is the length of a bar, "1d" or minutes as "5m"; `ts`
(UTC) is null in daily bars. `import_id` says which import a row came with.

A query finds a frame by the name of the argument that holds it (`rows`), and forgets it with its
end. `register` would keep every frame in memory until the transaction ends, which of 50 million
bars is 4 GB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from engine.data.contract import OPTIONAL, PRICES
from engine.data.rules import QUARANTINE
from engine.data.source import ACTIONS, MEMBERS
from engine.errors import UsageError

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "BAR_COLUMNS",
    "CREATE",
    "DAILY",
    "EXPORTED",
    "FORMAT",
    "VALUES",
    "bar_size",
    "first_row",
    "frame_with",
    "run_with",
]

FORMAT = 1
"""Version of the layout; a store of another one is refused."""

DAILY = "1d"
VALUES = (*PRICES, *OPTIONAL)

BAR_COLUMNS = ("bar", "ticker", "date", "ts", *VALUES, "import_id")

_ROW = (
    "bar VARCHAR, ticker VARCHAR, date DATE, ts TIMESTAMP, "
    + ", ".join(f"{name} DOUBLE" for name in VALUES)
    + ", import_id INTEGER"
)

CREATE = f"""
CREATE TABLE IF NOT EXISTS meta (key VARCHAR PRIMARY KEY, value VARCHAR);
CREATE TABLE IF NOT EXISTS bars ({_ROW});
CREATE TABLE IF NOT EXISTS series ({_ROW});
CREATE TABLE IF NOT EXISTS corrections ("table" VARCHAR, {_ROW}, replaced_by INTEGER);
CREATE TABLE IF NOT EXISTS actions (
    ticker VARCHAR, date DATE, kind VARCHAR, value DOUBLE, in_prices BOOLEAN, import_id INTEGER);
CREATE TABLE IF NOT EXISTS universe (
    ticker VARCHAR, "from" DATE, "to" DATE, import_id INTEGER);
CREATE TABLE IF NOT EXISTS quarantine (
    ticker VARCHAR, date DATE, rule VARCHAR, message VARCHAR, source VARCHAR, import_id INTEGER);
CREATE TABLE IF NOT EXISTS imports (
    id INTEGER, "at" TIMESTAMP, what VARCHAR, kind VARCHAR, hash VARCHAR, rows BIGINT, added BIGINT,
    corrected BIGINT, unchanged BIGINT, quarantined BIGINT);
"""

_NUMBER: dict[str, Any] = {"import_id": pl.Int32}

_BARS: dict[str, Any] = {
    "bar": pl.String,
    "ticker": pl.String,
    "date": pl.Date,
    "ts": pl.Datetime("us"),
    **dict.fromkeys(VALUES, pl.Float64),
    **_NUMBER,
}

EXPORTED: dict[str, dict[str, Any]] = {
    "series": _BARS,
    "actions": {**ACTIONS, "factor": pl.Float64},
    "universe": {**MEMBERS},
    "quarantine": {**QUARANTINE, **_NUMBER},
    "corrections": {"table": pl.String, **_BARS, "replaced_by": pl.Int32},
}
"""Columns of the exports besides those of the bars."""


def first_row(
    connection: duckdb.DuckDBPyConnection, query: str, values: Sequence[Any] = ()
) -> tuple[Any, ...]:
    """The first row of a query's result, read to its end: a half-read one blocks the connection."""
    return connection.execute(query, list(values)).fetchall()[0]


def run_with(connection: duckdb.DuckDBPyConnection, query: str, rows: pl.DataFrame) -> int:
    """Run a query that changes a table and names the frame `rows`; returns the rows it changed."""
    (changed,) = connection.execute(query).fetchall()[0]
    return changed


def frame_with(
    connection: duckdb.DuckDBPyConnection, query: str, rows: pl.DataFrame
) -> pl.DataFrame:
    """The result of a query that names the frame `rows`."""
    return connection.sql(query).pl()


def bar_size(rows: pl.DataFrame, what: str) -> str:
    """ "1d" for daily bars, else minutes as "5m": the most frequent step within a ticker's day.

    Raises
    ------
    UsageError
        No two bars of a ticker and day are whole minutes apart.
    """
    if "ts" not in rows.columns:
        return DAILY
    steps = (
        rows.select("ticker", "ts", "date")
        .drop_nulls()
        .unique()
        .sort("ticker", "ts")
        .select(step=pl.col("ts").diff().over("ticker", "date").dt.total_seconds())
        .drop_nulls()
        .filter(pl.col("step") % 60 == 0)
        .group_by("step")
        .len()
        .sort("len", -pl.col("step"), descending=True)
    )
    if steps.is_empty():
        raise UsageError(
            f"{what}: the length of its bars cannot be told from their times; "
            "give it as --data.bar 5m"
        )
    return f"{steps['step'][0] // 60}m"

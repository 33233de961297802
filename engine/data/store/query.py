"""Queries of the database, also over a frame of ours.

A frame is found by the name of the argument that holds it (`rows`) and is forgotten with the query.
`register` would keep every frame in memory until the transaction ends, which of 50 million bars is
4 GB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import duckdb

__all__ = ["first_row", "frame_with", "run_with"]


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

"""Reading single rows of the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

__all__ = ["first_row"]


def first_row(
    connection: duckdb.DuckDBPyConnection, query: str, values: Sequence[Any] = ()
) -> tuple[Any, ...]:
    """The first row of a query's result, read to its end: a half-read one blocks the connection."""
    return connection.execute(query, list(values)).fetchall()[0]

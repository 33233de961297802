"""The tables of a price store, and the columns of each.

`bars` and `series` hold rows as recorded: null volume or amount where the source had none, and
`adj_factor` as the source gave it. `bar` is the length of a bar, "1d" or minutes as "5m"; `ts`
(UTC) is null in daily bars. `import_id` says which import a row came with.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from engine.data.contract import OPTIONAL, PRICES
from engine.data.rules import QUARANTINE
from engine.data.sources.base import ACTIONS, MEMBERS

__all__ = ["BAR_COLUMNS", "CREATE", "DAILY", "EXPORTED", "FORMAT", "VALUES"]

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

"""Files of corporate actions, of universe membership, and of sectors."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl

from engine.data.contract import session_day
from engine.data.source import ACTIONS, MEMBERS, SECTORS
from engine.errors import UsageError

__all__ = ["read_actions", "read_members", "read_sectors"]


def read_actions(path: Path, kind: Literal["parquet", "csv"], *, zone: str) -> pl.DataFrame:
    """The columns of `ACTIONS` from ticker, date, kind, value and optionally in_prices (false).

    `zone` is the exchange's; days are read as `session_day` does. A cell that cannot be read is
    null. Raises UsageError where a column is missing.
    """
    rows = _read(path, kind, ("ticker", "date", "kind", "value"))
    if "in_prices" not in rows.columns:
        rows = rows.with_columns(in_prices=pl.lit(False))
    truth = pl.col("in_prices").cast(pl.String).str.to_lowercase()
    return rows.select(
        pl.col("ticker").cast(pl.String),
        _day("date", rows, path, zone),
        pl.col("kind").cast(pl.String).str.strip_chars().str.to_lowercase(),
        pl.col("value").cast(pl.Float64, strict=False),
        truth.replace_strict(["true", "1", "false", "0"], [True, True, False, False], default=None),
    ).cast(ACTIONS)


def read_members(path: Path, kind: Literal["parquet", "csv"], *, zone: str) -> pl.DataFrame:
    """The columns of `MEMBERS` from ticker, from, to; an empty `to` is still a member.

    `zone` is the exchange's; days are read as `session_day` does.
    """
    rows = _read(path, kind, ("ticker", "from", "to"))
    # A `to` that cannot be read must not become "still": the row is broken, so its `from` goes.
    unreadable = pl.col("to").is_not_null() & _day("to", rows, path, zone).is_null()
    return rows.select(
        pl.col("ticker").cast(pl.String),
        pl.when(~unreadable).then(_day("from", rows, path, zone)).alias("from"),
        _day("to", rows, path, zone),
    ).cast(MEMBERS)


def read_sectors(path: Path, *, zone: str) -> pl.DataFrame:
    """The columns of `SECTORS` from ticker, sector and optionally from and to, sorted.

    Parquet or CSV by the name's ending; `zone` is the exchange's. Raises UsageError naming the
    file, and the row, where it cannot be read, a ticker or sector is empty, a day is none, a span
    ends before it begins, or two spans of one ticker overlap.
    """
    kind = "parquet" if path.suffix.lower() in (".parquet", ".pq") else "csv"
    rows = _read(path, kind, ("ticker", "sector"))
    absent = [name for name in ("from", "to") if name not in rows.columns]
    rows = rows.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
    texts = [pl.col(n).cast(pl.String).str.strip_chars().replace("", None) for n in SECTORS]
    text = rows.select(texts)
    found = text.select(
        pl.int_range(1, pl.len() + 1).alias("row"),
        "ticker",
        "sector",
        **{name: rows.select(_day(name, rows, path, zone)).to_series() for name in ("from", "to")},
    )
    for name in ("ticker", "sector"):
        _refuse(path, found.filter(pl.col(name).is_null()), f"{name} is empty")
    for name in ("from", "to"):
        unread = text[name].is_not_null() & found[name].is_null()
        value = next(iter(text.filter(unread)[name]), None)
        why = f"`{name}` is no date (YYYY-MM-DD) and no midnight, here or in {zone}: {value}"
        _refuse(path, found.filter(unread), why)
    _refuse(path, found.filter(pl.col("from") > pl.col("to")), "`from` is after `to`")
    found = found.sort("ticker", "from", nulls_last=False)
    before = pl.col("to").shift(1).over("ticker")
    again = pl.col("ticker") == pl.col("ticker").shift(1)
    open_end = again & (before.is_null() | pl.col("from").is_null() | (pl.col("from") <= before))
    _refuse(path, found.filter(open_end.fill_null(value=False)), "overlaps the ticker's other span")
    return found.select(SECTORS.names()).cast(SECTORS)


def _refuse(path: Path, rows: pl.DataFrame, why: str) -> None:
    """Raise for the first of `rows`, if there is one."""
    if rows.height:
        row, ticker = rows.row(0)[:2]
        raise UsageError(f"{path}: row {row} (ticker {ticker or 'empty'}): {why}")


def _read(path: Path, kind: str, columns: tuple[str, ...]) -> pl.DataFrame:
    try:
        if kind == "parquet":
            rows = pl.read_parquet(path, glob=False)
        else:
            rows = pl.read_csv(path, infer_schema=False, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UsageError(f"{path}: cannot be read as {kind} ({reason})") from None
    rows = rows.rename({name: name.strip().lower() for name in rows.columns})
    for column in columns:
        if column not in rows.columns:
            raise UsageError(
                f"{path}: column `{column}` is missing; it needs {', '.join(columns)} "
                f"and has {', '.join(rows.columns[:12])}"
            )
    return rows


def _day(name: str, rows: pl.DataFrame, path: Path, zone: str) -> pl.Expr:
    column = rows[name]
    if column.dtype.is_float() and not column.is_finite().any():
        return pl.lit(None, dtype=pl.Date)  # nothing but NaN: how pandas writes an empty column
    return session_day(name, column.dtype, source=str(path), zone=zone)

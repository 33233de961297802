"""What the audit finds: one finding a check, table and column, with the first cell of it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

__all__ = ["Finding", "compare_tables"]

ROW = "(row)"


@dataclass(frozen=True)
class Finding:
    """A column that moved although nothing it may know has changed.

    Attributes
    ----------
    check
        Truncated, noised, scaled, history or shuffled.
    table
        Features, panel, weights or baseline.
    column
        The column; "(row)" where a row is there in one run only.
    date, ticker
        The first cell that moved.
    expected
        Its value on the whole data.
    found
        Its value on the changed data.
    cells
        How many cells moved.
    asof
        The date after which (or from which) the data were changed.
    """

    check: str
    table: str
    column: str
    date: datetime.date | None
    ticker: str | None
    expected: str
    found: str
    cells: int
    asof: datetime.date | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            key: value.isoformat() if isinstance(value, datetime.date) else value
            for key, value in asdict(self).items()
        }


def compare_tables(
    expected: pl.DataFrame,
    found: pl.DataFrame,
    *,
    check: str,
    table: str,
    keys: Sequence[str],
    tolerance: float,
    asof: datetime.date | None = None,
    exempt: Sequence[str] = (),
) -> list[Finding]:
    """Cell by cell: every column that differs, rows that only one table has included.

    Numbers may differ by `tolerance` relative to the larger of the two; null equals null and NaN
    equals NaN, nothing else. `exempt` columns are not compared. The first of `keys` is the date.
    """
    columns = [name for name in expected.columns if name not in (*keys, *exempt)]
    both = expected.with_columns(_in=pl.lit(True)).join(
        found.select(*keys, *(name for name in columns if name in found.columns)).with_columns(
            _in=pl.lit(True)
        ),
        on=list(keys),
        how="full",
        suffix="_found",
        coalesce=True,
        maintain_order="left_right",
    )
    both = both.sort(*keys)
    one_sided = both.filter(pl.col("_in").is_null() | pl.col("_in_found").is_null())
    shared = both.filter(pl.col("_in").is_not_null() & pl.col("_in_found").is_not_null())
    findings = []
    if one_sided.height:
        there = pl.when(pl.col("_in").is_not_null()).then(pl.lit("present"))
        again = pl.when(pl.col("_in_found").is_not_null()).then(pl.lit("present"))
        first = one_sided.select(
            *keys, e=there.otherwise(pl.lit("missing")), f=again.otherwise(pl.lit("missing"))
        ).row(0, named=True)
        findings.append(_finding(check, table, ROW, keys, first, one_sided.height, asof))
    for name in columns:
        if f"{name}_found" not in shared.columns:
            continue
        moved = shared.filter(_moved(expected.schema[name], name, tolerance))
        if moved.height:
            first = moved.select(*keys, e=name, f=f"{name}_found").row(0, named=True)
            findings.append(_finding(check, table, name, keys, first, moved.height, asof))
    return findings


def _moved(dtype: pl.DataType, name: str, tolerance: float) -> pl.Expr:
    a, b = pl.col(name), pl.col(f"{name}_found")
    if not dtype.is_float():
        return a.ne_missing(b)
    same_kind = (a.is_null() == b.is_null()) & (a.is_nan() == b.is_nan()).fill_null(value=True)
    size = pl.max_horizontal(a.abs(), b.abs())
    apart = ((a - b).abs() > tolerance * size).fill_null(value=False) & a.is_finite()
    infinite = (a.is_infinite() & (a != b)).fill_null(value=False)
    return ~same_kind | apart.fill_null(value=False) | infinite


def _finding(
    check: str,
    table: str,
    column: str,
    keys: Sequence[str],
    first: dict[str, Any],
    cells: int,
    asof: datetime.date | None,
) -> Finding:
    return Finding(
        check=check,
        table=table,
        column=column,
        date=first[keys[0]],
        ticker=first.get("ticker"),
        expected=_text(first["e"]),
        found=_text(first["f"]),
        cells=cells,
        asof=asof,
    )


def _text(value: object) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)

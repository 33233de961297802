"""The `bars` contract: which columns, of which types, and how files of other types are read.

A source hands over its rows through `conform`, which settles columns and types but judges no row;
`engine.data.rules` judges rows. A cell that cannot be read becomes null here and is quarantined
there, so that one bad cell costs one row, not a file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import polars as pl

from engine.errors import UsageError

__all__ = ["BARS", "OPTIONAL", "PRICES", "REQUIRED", "complete", "conform"]

PRICES = ("open", "high", "low", "close")
REQUIRED = ("ticker", "date", *PRICES)
OPTIONAL = ("volume", "amount", "adj_factor")

BARS = pl.Schema(
    {"date": pl.Date, "ticker": pl.String} | dict.fromkeys((*PRICES, *OPTIONAL), pl.Float64)
)

_DATE = r"^\s*(\d{4}-\d{2}-\d{2})(?:[T ]00:00(?::00(?:\.0+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?\s*$"


def conform(frame: pl.LazyFrame, *, source: str, ticker: str | None = None) -> pl.LazyFrame:
    """The columns of `BARS` and a column `source`, cast to their types; rows are not judged.

    Parameters
    ----------
    frame
        Rows of one source, with the required columns in any numeric width; text is parsed.
        `date` may be Date, Datetime at midnight or ISO text. Other columns are ignored.
    source
        What messages call the source; kept beside each row.
    ticker
        The ticker of all rows, for files that name it outside (in the file name).

    Raises
    ------
    UsageError
        A required column is missing or of a type that cannot hold it, or the bars are intraday.
    """
    schema = frame.collect_schema()
    if "ts" in schema:
        raise UsageError(f"{source}: has intraday bars (column `ts`); only daily bars are read")
    given = () if ticker is None or "ticker" in schema else ("ticker",)
    for column in REQUIRED:
        if column not in schema and column not in given:
            raise UsageError(f"{source}: column `{column}` is missing{_hint(column, schema)}")
    columns = {
        "date": _date(schema["date"], source),
        "ticker": pl.lit(ticker) if given else _ticker(schema["ticker"], source),
    }
    for column in (*PRICES, *OPTIONAL):
        known = column in schema
        columns[column] = _number(column, schema[column], source) if known else _absent(column)
    return frame.select(**columns, source=pl.lit(source))


def complete(bars: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Bars without gaps in volume and amount, and in how many rows a stated volume was missing.

    A missing volume is 0; a missing amount is volume * mean(open, high, low, close). Rows of
    sources without a volume column are filled likewise, and counted.
    """
    missing = bars["volume"].null_count()
    filled = bars.with_columns(pl.col("volume").fill_null(0.0)).with_columns(
        pl.col("amount").fill_null(pl.col("volume") * pl.sum_horizontal(PRICES) / len(PRICES))
    )
    return filled, missing


def _absent(column: str) -> pl.Expr:
    """A column the source lacks: no adj_factor means consistently adjusted prices."""
    return pl.lit(1.0 if column == "adj_factor" else None, dtype=pl.Float64)


def _number(column: str, dtype: pl.DataType, source: str) -> pl.Expr:
    if not (dtype.is_numeric() or dtype in (pl.String, pl.Null)):
        raise UsageError(f"{source}: column `{column}` is {_name(dtype)}, not a number")
    number = pl.col(column).cast(pl.Float64, strict=False)
    # An absent quantity arrives as NaN from pandas; a price or factor that is NaN is judged.
    return number.fill_nan(None) if column in ("volume", "amount") else number


def _date(dtype: pl.DataType, source: str) -> pl.Expr:
    day = pl.col("date")
    if dtype in (pl.Date, pl.Null):
        return day.cast(pl.Date)
    if isinstance(dtype, pl.Datetime):
        return pl.when(day.dt.time() == pl.time(0)).then(day.dt.date())
    if dtype == pl.String:
        return day.str.extract(_DATE).str.to_date("%Y-%m-%d", strict=False)
    raise UsageError(f"{source}: column `date` is {_name(dtype)}; use dates or YYYY-MM-DD text")


def _ticker(dtype: pl.DataType, source: str) -> pl.Expr:
    if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null) or dtype.is_integer():
        return pl.col("ticker").cast(pl.String)
    raise UsageError(f"{source}: column `ticker` is {_name(dtype)}, not text")


def _name(dtype: pl.DataType) -> str:
    return str(dtype).split("(")[0].lower()


def _hint(column: str, columns: Iterable[str]) -> str:
    names = list(columns)
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        return "; the file seems to separate columns by something else than a comma"
    spelled = {name.lower().strip(): name for name in reversed(names)}
    close = difflib.get_close_matches(column, spelled, n=1, cutoff=0.8)
    if close:
        return f"; rename `{spelled[close[0]]}` to `{column}`"
    return f"; it has {', '.join(names[:12])}" if names else ""

"""The `bars` contract: which columns, of which types, and how files of other types are read.

A source hands over its rows through `conform`, which settles columns and types but judges no row;
`engine.data.rules` judges rows. A cell that cannot be read becomes null here and is quarantined
there, so that one bad cell costs one row, not a file.

Daily bars have a `date`, the session. Intraday bars have a `ts`, their start: UTC inside, the
exchange's zone where a time is written without one. Their `date` is settled by the exchange's
calendar (`engine.data.sessions`).
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from engine.errors import UsageError, nearest

__all__ = [
    "BARS",
    "INTRADAY",
    "OPTIONAL",
    "PRICES",
    "REQUIRED",
    "complete",
    "conform",
    "instant",
    "session_day",
]

PRICES = ("open", "high", "low", "close")
REQUIRED = ("ticker", "date", *PRICES)
OPTIONAL = ("volume", "amount", "adj_factor")

BARS = pl.Schema(
    {"date": pl.Date, "ticker": pl.String} | dict.fromkeys((*PRICES, *OPTIONAL), pl.Float64)
)

INTRADAY = pl.Schema({"ts": pl.Datetime("us", "UTC"), **BARS})
"""Of intraday bars; `date` is the session that a bar belongs to."""

_CLOCK = (
    r"^\s*(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2}(?:\.\d{1,9})?)?\s*(Z|[+-]\d{2}:?\d{2})?\s*$"
)
_DATE = r"^\s*(\d{4}-\d{2}-\d{2})(?:[T ]00:00(?::00(?:\.0+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?\s*$"


def conform(
    frame: pl.LazyFrame, *, source: str, ticker: str | None = None, zone: str = "UTC"
) -> pl.LazyFrame:
    """The columns of `BARS` and a column `source`, cast to their types; rows are not judged.

    With a column `ts` the bars are intraday: the columns of `INTRADAY`, of which `date` is for
    now the day in `zone`.

    Parameters
    ----------
    frame
        Rows of one source, with the required columns in any numeric width; text is parsed.
        `date` may be what `session_day` reads; `ts` Datetime or ISO text. Other
        columns are ignored.
    source
        What messages call the source; kept beside each row.
    ticker
        The ticker of all rows, for files that name it outside (in the file name).
    zone
        Of times that are written without one, and of midnights that are written in another.

    Raises
    ------
    UsageError
        A required column is missing or of a type that cannot hold it.
    """
    schema = frame.collect_schema()
    intraday = "ts" in schema
    given = {*(["ticker"] if ticker is not None and "ticker" not in schema else [])}
    given |= {"date"} if intraday else set()
    for column in REQUIRED:
        if column not in schema and column not in given:
            raise UsageError(f"{source}: column `{column}` is missing{_hint(column, schema)}")
    columns = {}
    if intraday:
        columns["ts"] = instant("ts", schema["ts"], source=source, zone=zone)
        columns["date"] = columns["ts"].dt.convert_time_zone(zone).dt.date()
    else:
        columns["date"] = session_day("date", schema["date"], source=source, zone=zone)
    columns |= {
        "ticker": pl.lit(ticker) if "ticker" in given else _ticker(schema["ticker"], source),
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


def session_day(column: str, dtype: pl.DataType, *, source: str, zone: str) -> pl.Expr:
    """The date of a session, by the one rule for bars, scores, members and sectors.

    A midnight names its own day, in the zone it is written in; a time that is midnight in `zone`,
    the exchange's, names the day there. What is neither, or two different days, is null: a time
    is never cut to a day.

    Raises
    ------
    UsageError
        The column is of a type that holds no date.
    """
    day = pl.col(column)
    if dtype in (pl.Date, pl.Null):
        return day.cast(pl.Date)
    if isinstance(dtype, pl.Datetime):
        own = _at_midnight(day)
        return _agreed(own, day, zone) if dtype.time_zone else own
    if dtype == pl.String:
        own = day.str.extract(_DATE).str.to_date("%Y-%m-%d", strict=False)
        # A time without a zone is the exchange's, so its midnight is the same by both readings.
        return _agreed(own, _written_time(day, zone), zone)
    raise UsageError(f"{source}: column `{column}` is {_name(dtype)}; use dates or YYYY-MM-DD text")


def _agreed(own: pl.Expr, time: pl.Expr, zone: str) -> pl.Expr:
    there = _at_midnight(time.dt.convert_time_zone(zone))
    return pl.when((own == there).fill_null(value=True)).then(pl.coalesce(own, there))


def _at_midnight(time: pl.Expr) -> pl.Expr:
    return pl.when(time.dt.time() == pl.time(0)).then(time.dt.date())


def instant(column: str, dtype: pl.DataType, *, source: str, zone: str) -> pl.Expr:
    """UTC times; one that is written without a zone is of `zone`. Text that is no time is null.

    Raises
    ------
    UsageError
        The column is of a type that holds no time.
    """
    time = pl.col(column)
    if dtype == pl.Null:
        return time.cast(pl.Datetime("us", "UTC"))
    if dtype == pl.String:
        return _written_time(time, zone)
    if isinstance(dtype, pl.Datetime):
        time = time.cast(pl.Datetime("us", dtype.time_zone))
        return time.dt.convert_time_zone("UTC") if dtype.time_zone else _localised(time, zone)
    raise UsageError(
        f"{source}: column `{column}` is {_name(dtype)}; "
        "use times or text as 2024-03-01T09:30:00-05:00"
    )


def _written_time(text: pl.Expr, zone: str) -> pl.Expr:
    part = [text.str.extract(_CLOCK, at) for at in range(1, 5)]
    clock = pl.concat_str(part[0], pl.lit(" "), part[1], part[2].fill_null(":00"))
    naive = clock.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    digits = part[3].str.replace("Z", "+0000").str.replace(":", "")
    minutes = digits.str.slice(1, 2).cast(pl.Int64) * 60 + digits.str.slice(3, 2).cast(pl.Int64)
    ahead = pl.duration(minutes=minutes)
    exact = pl.when(digits.str.starts_with("-")).then(naive + ahead).otherwise(naive - ahead)
    zoned = exact.dt.replace_time_zone("UTC")
    return pl.when(part[3].is_null()).then(_localised(naive, zone)).otherwise(zoned)


def _localised(naive: pl.Expr, zone: str) -> pl.Expr:
    """UTC; of the hour that a clock shows twice the first, of the one it skips nothing."""
    local = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC")


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
    close = nearest(column, names, at_least=0.8)
    if close:
        return f"; rename `{close}` to `{column}`"
    return f"; it has {', '.join(names[:12])}" if names else ""

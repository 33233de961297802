"""Columns of files as vendors name them, brought to the names of the contract.

Recognised by their column names alone (upper or lower case does not matter):

- Yahoo: Date (intraday: Datetime), Open, High, Low, Close, Adj Close, Volume.
- Stooq: Date, Open, High, Low, Close, Volume, or <TICKER>, <PER>, <DATE>, <TIME>, <OPEN> …
- Alpha Vantage: timestamp, open, high, low, close, adjusted_close, volume …
- Qlib csv dumps: symbol or instrument, date, open … volume, factor.
- Kronos: timestamps, open, high, low, close, volume, amount.

`data.columns` names any other. A date column that holds times of day is read as `ts`.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from engine.data.contract import PRICES
from engine.errors import UsageError

__all__ = ["rename_columns"]

_NAMES = {
    "ticker": ("ticker", "<ticker>", "symbol", "instrument"),
    "date": ("date", "<date>"),
    "ts": ("ts", "datetime", "timestamp", "timestamps"),
    "open": ("open", "<open>"),
    "high": ("high", "<high>"),
    "low": ("low", "<low>"),
    "close": ("close", "<close>"),
    "volume": ("volume", "<vol>", "vol"),
    "amount": ("amount",),
    "adj_factor": ("adj_factor",),
}
_ADJUSTED_CLOSE = ("adj close", "adj_close", "adjusted_close", "adjclose")
_DATE_TEXT = r"^\s*(\d{4})[-/]?(\d{1,2})[-/]?(\d{1,2})(?:[T ](.*))?$"
_LOOKED_AT = 1_000


def rename_columns(
    frame: pl.LazyFrame, columns: Mapping[str, str] | None = None, *, source: str
) -> pl.LazyFrame:
    """`frame` with the columns of the contract under its names; others stay as they are.

    Parameters
    ----------
    frame
        Rows of one file.
    columns
        Name of the contract → name in the file, as `data.columns` gives it.
    source
        What messages call the file.

    Raises
    ------
    UsageError
        `columns` names a column the file does not have.
    """
    present = frame.collect_schema().names()
    chosen = _chosen(present, columns or {}, source)
    frame = _restored(frame.rename({old: new for new, old in chosen.items() if old != new}))
    if "<time>" in (by_lower := {name.lower(): name for name in present}):
        frame = _with_stooq_time(frame, by_lower)
    return _timed(frame)


def _chosen(present: list[str], columns: Mapping[str, str], source: str) -> dict[str, str]:
    """Name of the contract → name in the file."""
    chosen = {new: old for new, old in columns.items() if old is not None}
    for new, old in chosen.items():
        if old not in present:
            raise UsageError(
                f"{source}: has no column `{old}` (data.columns.{new}); "
                f"it has {', '.join(present[:12])}"
            )
    for new, known in _NAMES.items():
        if new in chosen:
            continue
        found = [
            name
            for wanted in known
            for name in present
            if name.strip().lower() == wanted and name not in chosen.values()
        ]
        if new in found:
            chosen[new] = new
        elif found:
            chosen[new] = found[0]
    return chosen


def _restored(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Prices as traded with their factor, where the vendor gives both or one can be undone."""
    names = {name.strip().lower(): name for name in frame.collect_schema().names()}
    if "adj_factor" in names:
        return frame
    adjusted = next((names[name] for name in _ADJUSTED_CLOSE if name in names), None)
    if adjusted is not None and "close" in names:
        return frame.with_columns(adj_factor=_number(adjusted) / _number("close"))
    if "factor" in names and {*PRICES} <= set(names):
        # Qlib's prices are multiplied by the factor and its volume is divided by it.
        factor = _number(names["factor"])
        restored = [(_number(name) / factor).alias(name) for name in PRICES]
        if "volume" in names:
            restored.append(_number("volume") * factor)
        return frame.with_columns(*restored, adj_factor=factor)
    return frame


def _number(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64, strict=False)


def _with_stooq_time(frame: pl.LazyFrame, by_lower: Mapping[str, str]) -> pl.LazyFrame:
    """Stooq's bulk files give the period as D or minutes, and the time as HHMMSS."""
    period = by_lower.get("<per>")
    if period is None:
        return frame
    first = frame.select(period).head(1).collect()
    if first.is_empty() or str(first.item()).strip().upper() in ("D", "W", "M"):
        return frame
    clock = pl.col(by_lower["<time>"]).cast(pl.String).str.zfill(6)
    return frame.with_columns(
        ts=pl.concat_str(
            pl.col("date").cast(pl.String),
            pl.lit(" "),
            clock.str.slice(0, 2),
            pl.lit(":"),
            clock.str.slice(2, 2),
            pl.lit(":"),
            clock.str.slice(4, 2),
        )
    )


def _timed(frame: pl.LazyFrame) -> pl.LazyFrame:
    """One column of time: `date` where it holds days, `ts` where it holds times of day."""
    schema = frame.collect_schema()
    for name in ("ts", "date"):
        if schema.get(name) == pl.String:
            frame = frame.with_columns(_iso(pl.col(name)).alias(name))
    if "ts" in schema and "date" not in schema and not _has_times(frame, "ts"):
        return frame.rename({"ts": "date"})
    if "date" in schema and "ts" not in schema and _has_times(frame, "date"):
        return frame.rename({"date": "ts"})
    return frame


def _iso(text: pl.Expr) -> pl.Expr:
    """YYYYMMDD and YYYY/M/D, with whatever follows, as YYYY-MM-DD; other text as it is."""
    year, month, day, rest = (text.str.extract(_DATE_TEXT, at) for at in range(1, 5))
    rest = rest.str.replace(r"^(\d):", "0$1:")
    written = pl.concat_str(
        year,
        pl.lit("-"),
        month.str.zfill(2),
        pl.lit("-"),
        day.str.zfill(2),
        pl.when(rest.is_null()).then(pl.lit("")).otherwise(pl.concat_str(pl.lit(" "), rest)),
    )
    return pl.coalesce(written, text)


def _has_times(frame: pl.LazyFrame, name: str) -> bool:
    """Whether most of the first values have a time of day that is not midnight."""
    dtype = frame.collect_schema()[name]
    if dtype == pl.String:
        clock = pl.col(name).str.extract(r"[T ](\d{2}:\d{2}(?::\d{2})?)", 1)
        timed = clock.is_not_null() & ~clock.is_in(["00:00", "00:00:00"])
    elif isinstance(dtype, pl.Datetime):
        timed = pl.col(name).dt.time() != pl.time(0)
    else:
        return False
    share = frame.select(name).head(_LOOKED_AT).select(timed.mean()).collect().item()
    return share is not None and share > 0.5

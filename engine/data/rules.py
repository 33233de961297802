"""Rules that a bar must keep, and the quarantine for rows that break one.

1. `judge` gives intraday bars their session first, and takes out those outside its hours.
2. Each row is judged by the row rules in order; the first it breaks is named (`_row_rules`).
3. Of the rows left, those that share ticker and date are resolved (`_duplicates`): identical
   copies keep one, conflicting ones are all removed, because none is known to be right.

Nothing is dropped silently: rows in = rows kept + rows quarantined.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from engine.calendar import TradingCalendar
from engine.data.contract import PRICES
from engine.data.sessions import assign_sessions

__all__ = ["OUTSIDE_HOURS", "QUARANTINE", "judge", "partition"]

OUTSIDE_HOURS = "outside trading hours"
QUARANTINE = pl.Schema(
    {
        "ticker": pl.String,
        "date": pl.Date,
        "rule": pl.String,
        "message": pl.String,
        "source": pl.String,
    }
)

# Multiplying by a factor and rounding to float32 moves prices by up to 1e-7; a true error is at
# least one tick, 2e-5 of a 500-dollar price. Of 860,000 real adjusted bars none breaks the order
# at any tolerance; of the 47 broken VIX bars the smallest break is 1.4e-3.
_TOLERANCE = 1e-6


class _Rule(NamedTuple):
    name: str
    broken: pl.Expr
    message: pl.Expr


def judge(rows: pl.DataFrame, calendar: TradingCalendar) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Kept and quarantined rows, of daily or intraday bars, by `partition`.

    Intraday rows get their session first; those of a session's date but outside its hours
    (before the open, after the close) are quarantined under `OUTSIDE_HOURS`.
    """
    if "ts" not in rows.columns:
        return partition(rows, calendar)
    placed = assign_sessions(rows, calendar)
    days = placed["date"].drop_nulls()
    sessions = calendar.sessions(days.min(), days.max()) if days.len() else []  # type: ignore[arg-type]
    outside = ~pl.col("in_hours") & pl.col("date").is_in(
        pl.Series(sessions, dtype=pl.Date).implode()
    )
    lost = placed.filter(outside.fill_null(False)).select(
        "ticker",
        "date",
        rule=pl.lit(OUTSIDE_HOURS),
        message=pl.format("a bar at {} UTC", pl.col("ts").dt.strftime("%Y-%m-%d %H:%M:%S")),
        source="source",
    )
    inside = placed.filter(~outside.fill_null(False)).drop("in_hours")
    kept, quarantined = partition(inside, calendar)
    return kept, pl.concat([lost.cast(QUARANTINE), quarantined])


def partition(rows: pl.DataFrame, calendar: TradingCalendar) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows that keep every rule, sorted by (ticker, date), and the quarantine.

    Parameters
    ----------
    rows
        As `contract.conform` returns them: the columns of `BARS` and `source`.
    calendar
        Rows on dates that are no session of it are quarantined.

    Returns
    -------
    kept
        The columns of `rows`, unique in (ticker, date).
    quarantined
        ticker, date, rule, message, source, in the order of the rows; ticker and date may be null.
    """
    rules = _row_rules(calendar, rows["date"])
    judged = rows.with_columns(_rule=_first_broken(rules, lambda at: pl.lit(at, pl.UInt8)))
    bad = judged.filter(pl.col("_rule").is_not_null())
    good = judged.filter(pl.col("_rule").is_null()).drop("_rule")
    time = _time_column(rows)
    if not good.select(_in_order(time).all()).item():
        good = good.sort("ticker", time, maintain_order=True)
    kept, twins = _duplicates(good)
    named = bad.select(
        "ticker",
        "date",
        rule=pl.col("_rule").replace_strict(
            range(len(rules)), [rule.name for rule in rules], return_dtype=pl.String
        ),
        message=_first_broken(rules, lambda at: rules[at].message),
        source="source",
    )
    return kept, pl.concat([named, twins]).cast(QUARANTINE)


def _first_broken(rules: list[_Rule], value: Callable[[int], pl.Expr]) -> pl.Expr:
    chosen: pl.Expr = pl.lit(None)
    for at in reversed(range(len(rules))):
        chosen = pl.when(rules[at].broken).then(value(at)).otherwise(chosen)
    return chosen


def _row_rules(calendar: TradingCalendar, dates: pl.Series) -> list[_Rule]:
    first, last = dates.min(), dates.max()
    days = [] if first is None else calendar.sessions(first, last)  # type: ignore[arg-type]
    sessions = pl.Series(days, dtype=pl.Date).implode()
    o, h, lo, c = (pl.col(name) for name in PRICES)
    bad_price = pl.any_horizontal(~pl.col(name).is_finite().fill_null(False) for name in PRICES)
    volume, amount, factor = pl.col("volume"), pl.col("amount"), pl.col("adj_factor")
    factor_ok = factor.is_finite() & (factor > 0)
    prices = _text("open {}, high {}, low {}, close {}", *PRICES)
    return [
        _Rule(
            "no ticker",
            pl.col("ticker").fill_null("").str.strip_chars() == "",
            pl.lit("the row names no ticker"),
        ),
        _Rule(
            "unreadable date",
            pl.col("date").is_null(),
            pl.lit("the date is missing, not YYYY-MM-DD, or has a time of day"),
        ),
        _Rule(
            "not a session",
            ~pl.col("date").is_in(sessions),
            pl.format("{} is not a session of {}", pl.col("date"), pl.lit(calendar.name)),
        ),
        _Rule("missing or non-finite price", bad_price, prices),
        _Rule("non-positive price", pl.min_horizontal(PRICES) <= 0, prices),
        _Rule("high below low", h < lo * (1 - _TOLERANCE), prices),
        _Rule("high below open or close", h < pl.max_horizontal(o, c) * (1 - _TOLERANCE), prices),
        _Rule("low above open or close", lo > pl.min_horizontal(o, c) * (1 + _TOLERANCE), prices),
        _Rule("negative volume", _negative(volume), _text("volume {}", "volume")),
        _Rule("negative amount", _negative(amount), _text("amount {}", "amount")),
        _Rule(
            "invalid adj_factor", ~factor_ok.fill_null(False), _text("adj_factor {}", "adj_factor")
        ),
    ]


def _negative(quantity: pl.Expr) -> pl.Expr:
    """Below zero or infinite; a missing quantity is no breach."""
    return (quantity < 0) | quantity.is_infinite()


def _text(template: str, *columns: str) -> pl.Expr:
    values = (pl.col(name).cast(pl.String).fill_null("missing") for name in columns)
    return pl.format(template, *values)


def _in_order(time: str) -> pl.Expr:
    ticker, date = pl.col("ticker"), pl.col(time)
    before = ticker.shift(1) < ticker
    return (before | ((ticker.shift(1) == ticker) & (date.shift(1) <= date))).fill_null(True)


def _time_column(rows: pl.DataFrame) -> str:
    """What tells two bars of a ticker apart: `ts` of intraday bars, else `date`."""
    return "ts" if "ts" in rows.columns else "date"


def _duplicates(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows unique in (ticker, date), and the quarantine of the others; `rows` are sorted."""
    key = ["ticker", _time_column(rows)]
    again = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in key)
    if not rows.select(again.any()).item():
        return rows, pl.DataFrame(schema=QUARANTINE)
    content = pl.struct(pl.exclude("source"))
    marked = rows.with_columns(
        _copies=pl.len().over(key),
        _kinds=content.n_unique().over(key),
        _nth=pl.int_range(pl.len()).over(key),
    )
    conflict, repeat = pl.col("_kinds") > 1, pl.col("_nth") > 0
    removed = marked.filter(conflict | repeat).select(
        "ticker",
        "date",
        rule=pl.when(conflict)
        .then(pl.lit("conflicting duplicates"))
        .otherwise(pl.lit("duplicate row")),
        message=pl.when(conflict)
        .then(pl.format("{} rows of one date differ: all removed", "_copies"))
        .otherwise(pl.format("{} identical rows: one kept", "_copies")),
        source="source",
    )
    return marked.filter(~conflict & ~repeat).select(rows.columns), removed

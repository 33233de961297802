"""Orders inside one bar: what a limit price was worth when only open, high, low, close are known.

The rules, the same for every strategy:

1. A level is filled only if the bar trades *through* it: low below a buy limit, high above a sell
   limit. Touching it exactly is not enough; someone else was first in the queue.
2. A bar that opens beyond the limit fills at the open, which is better and comes first.
3. Entry and exit level both inside one bar: the worse order of events is assumed. The exit level
   was reached before the entry, so the position is closed at the close. Only an entry at the open
   is known to come first; then the exit level counts.
4. What is still open at the close is closed there. Nothing is held overnight.
"""

from __future__ import annotations

import polars as pl

__all__ = ["enter_at_limit", "enter_at_open"]


def enter_at_open(side: pl.Expr, take_profit: pl.Expr | None = None) -> tuple[pl.Expr, pl.Expr]:
    """(entry price, exit price) of a position opened at the open; null entry where side is 0.

    With ``take_profit`` the position leaves at that level when the bar trades through it. A level
    that the open has already passed leaves at the open.
    """
    opened, close = pl.col("open"), pl.col("close")
    entry = pl.when(side != 0).then(opened)
    if take_profit is None:
        return entry, close
    long_exit = (
        pl.when(opened >= take_profit)
        .then(opened)
        .when(pl.col("high") > take_profit)
        .then(take_profit)
        .otherwise(close)
    )
    short_exit = (
        pl.when(opened <= take_profit)
        .then(opened)
        .when(pl.col("low") < take_profit)
        .then(take_profit)
        .otherwise(close)
    )
    return entry, pl.when(side > 0).then(long_exit).otherwise(short_exit)


def enter_at_limit(side: pl.Expr, entry: pl.Expr, target: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """(entry, exit price) of a position opened at the limit ``entry``; null entry if unfilled.

    Long: buys below, leaves at ``target`` above; short mirrored. Levels in the wrong order (a long
    whose target is not above its entry) are not traded.
    """
    opened, high, low = pl.col("open"), pl.col("high"), pl.col("low")
    long_at_open, short_at_open = opened <= entry, opened >= entry
    long_entry = (
        pl.when(target <= entry)
        .then(None)
        .when(long_at_open)
        .then(opened)
        .when(low < entry)
        .then(entry)
    )
    short_entry = (
        pl.when(target >= entry)
        .then(None)
        .when(short_at_open)
        .then(opened)
        .when(high > entry)
        .then(entry)
    )
    long_exit = pl.when(long_at_open & (high > target)).then(target).otherwise(pl.col("close"))
    short_exit = pl.when(short_at_open & (low < target)).then(target).otherwise(pl.col("close"))
    filled = pl.when(side > 0).then(long_entry).when(side < 0).then(short_entry)
    return filled, pl.when(side > 0).then(long_exit).otherwise(short_exit)

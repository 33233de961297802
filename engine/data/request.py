"""What the settings ask of a source, and the errors where it does not have it."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from engine.config.data import DataSettings
from engine.data.source import Source, SourceData
from engine.errors import UsageError, nearest

__all__ = [
    "check_names",
    "nothing_found",
    "nothing_kept",
    "wanted",
]


def wanted(data: DataSettings) -> list[str] | None:
    """Tickers to read of the source; None: all."""
    if data.universe is None:
        return None
    named = [*data.universe, data.benchmark, data.volatility_index]
    return [name for name in dict.fromkeys(named) if name is not None]


def check_names(data: DataSettings, source: Source, loaded: SourceData) -> None:
    """Every ticker and index that the settings name is one the source has, on whatever dates."""
    present = set(loaded.bars["ticker"].unique().to_list())
    asked = _asked(data)
    if all(name in present or (index and name in loaded.series) for _, name, index in asked):
        return
    tickers = source.tickers()
    for key, name, index in asked:
        known = {*tickers, *loaded.series} if index else set(tickers)
        if name not in known:
            none = f", or give --{key} null for none" if index else ""
            raise UsageError(f"{key}: {source.name} has no {name!r}{_nearest(name, known)}{none}")


def _asked(data: DataSettings) -> list[tuple[str, str, bool]]:
    """(key, name, whether a series will do) of every ticker and index the settings name."""
    asked = [("data.universe", name, False) for name in data.universe or []]
    for key, name in (
        ("data.benchmark", data.benchmark),
        ("data.volatility_index", data.volatility_index),
    ):
        if name is not None:
            asked.append((key, name, True))
    return asked


def nothing_found(source: Source, data: DataSettings) -> str:
    """Why a load came back without a row, in one line."""
    span = source.span()
    if span is None:
        return f"{source.name}: holds no bars"
    first, last = span
    if data.start is not None and data.start > last:
        return f"data.start {data.start} is after the last bar: {source.name} has {first} to {last}"
    if data.end is not None and data.end < first:
        return f"data.end {data.end} is before the first bar: {source.name} has {first} to {last}"
    tickers = source.tickers()
    missing = [name for name in data.universe or [] if name not in tickers]
    if missing:
        near = _nearest(missing[0], tickers)
        return f"data.universe: {source.name} has no {missing[0]!r}{near}"
    return (
        f"{source.name} has no bars of the universe between data.start and data.end: "
        f"it has {first} to {last}"
    )


def nothing_kept(source: Source, quarantined: pl.DataFrame) -> str:
    """Why no row was left after the rules, in one line."""
    ticker, day, rule, message, _ = quarantined.row(0)
    where = " ".join(str(part) for part in (ticker, day) if part is not None)
    return (
        f"{source.name}: none of {quarantined.height} rows is usable; "
        f"the first ({where}): {rule}, {message}"
    )


def _nearest(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return f"; the nearest is {near!r}" if near else ""

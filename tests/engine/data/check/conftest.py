from __future__ import annotations

from collections.abc import Callable
from datetime import date

import polars as pl
import pytest

from engine.data.check.audit import Audit, audit

SPAN = (date(2019, 1, 2), date(2020, 12, 31))


@pytest.fixture(scope="session")
def clean(make_bars) -> pl.DataFrame:
    """Good rows of three tickers over two years, as a source hands them over."""
    bars = make_bars({name: SPAN for name in ("AAA", "BBB", "CCC")}, seed=3)
    return bars.with_columns(source=pl.lit("file"))


@pytest.fixture(scope="session")
def run(calendar) -> Callable[..., Audit]:
    """run(rows, **options): the audit without the shipped symbol changes."""

    def build(rows: pl.DataFrame, **options) -> Audit:
        return audit(rows, options.pop("calendar", calendar), **{"changes": (), **options})

    return build


@pytest.fixture(scope="session")
def change() -> Callable[..., pl.DataFrame]:
    """change(rows, ticker, day, column=value or expression, …): some bars replaced."""

    def build(rows: pl.DataFrame, name: str, day: date | pl.Expr, /, **values) -> pl.DataFrame:
        when = day if isinstance(day, pl.Expr) else pl.col("date") == day
        cell = (pl.col("ticker") == name) & when
        return rows.with_columns(
            pl.when(cell).then(value).otherwise(pl.col(column)).alias(column)
            for column, value in values.items()
        )

    return build


def rescale(by: float, shares: float = 1.0) -> dict[str, pl.Expr]:
    """Prices times `by` and volume times `shares`."""
    prices = {name: pl.col(name) * by for name in ("open", "high", "low", "close")}
    return prices | {"volume": pl.col("volume") * shares}


@pytest.fixture(scope="session")
def rescaled() -> Callable[..., dict[str, pl.Expr]]:
    return rescale

"""No book beyond its limits leaves a strategy."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from strategies import check_weights

DAY = date(2020, 1, 31)


def book(*rows: tuple[str, float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "asof": [DAY] * len(rows),
            "ticker": [ticker for ticker, _ in rows],
            "weight": [weight for _, weight in rows],
        },
        schema={"asof": pl.Date, "ticker": pl.String, "weight": pl.Float64},
    )


def test_valid_book_comes_back_sorted():
    assert check_weights(book(("B", -0.5), ("A", 0.5)), gross=1)["ticker"].to_list() == ["A", "B"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("A", float("nan"))], "weight of A on 2020-01-31 is nan"),
        ([("A", None)], "weight of A on 2020-01-31 is None"),
        ([("A", float("inf"))], "must be finite"),
        ([("A", 0.1), ("A", 0.2)], "A has more than one weight on 2020-01-31"),
        ([("A", 0.8), ("B", -0.3)], r"sum of \|weight\| is 1\.1, above strategy\.gross 1"),
    ],
)
def test_invalid_book_names_the_row(rows, message):
    with pytest.raises(ValueError, match=message):
        check_weights(book(*rows), gross=1)

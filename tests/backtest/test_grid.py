"""Long price frames squared into arrays."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from backtest.grid import PriceGrid, forward_fill

NAN = float("nan")


def test_sessions_are_those_of_all_tickers():
    prices = pl.DataFrame(
        {
            "date": [date(2020, 1, 1), date(2020, 1, 2), date(2020, 1, 3)],
            "ticker": ["B", "Z", "A"],
            "open": [1.0, 2.0, 3.0],
            "close": [1.5, 2.5, 3.5],
        }
    )
    grid = PriceGrid.from_frame(prices, tickers=["B", "A"])
    assert grid.tickers == ("A", "B")
    assert len(grid.sessions) == 3
    np.testing.assert_array_equal(grid.open, [[NAN, 1.0], [NAN, NAN], [3.0, NAN]])
    assert np.isnan(grid.amount).all()
    assert len(PriceGrid.from_frame(prices, tickers=["A"], until=date(2020, 1, 2)).sessions) == 2


def test_forward_fill():
    values = np.array([[NAN, 1.0], [2.0, NAN], [NAN, NAN], [3.0, 4.0]])
    np.testing.assert_array_equal(
        forward_fill(values), [[NAN, 1.0], [2.0, 1.0], [2.0, 1.0], [3.0, 4.0]]
    )
    assert forward_fill(np.empty((0, 2))).shape == (0, 2)

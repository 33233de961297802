"""A window's hash is a name for exactly what the window holds."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.scoring.price_array import PriceArray
from engine.scoring.window_hash import window_hashes

ROWS, TICKERS = 60, 3


@pytest.fixture(scope="module")
def prices() -> PriceArray:
    rng = np.random.default_rng(0)
    n = ROWS * TICKERS
    days = np.arange("2020-01-01", np.datetime64("2020-01-01") + ROWS, dtype="datetime64[D]")
    return PriceArray(
        tickers=("A", "B", "C"),
        offsets=np.arange(TICKERS + 1) * ROWS,
        dates=np.tile(days, TICKERS),
        times=None,
        values=rng.uniform(1, 2, (n, 6)),
        adjustment=np.ones(n),
        interval=None,
    )


def hashes(prices: PriceArray, lookback: int, rows=None, future=None) -> list[str]:
    last = np.concatenate(
        [np.arange(i * ROWS + lookback - 1, (i + 1) * ROWS) for i in range(TICKERS)]
    )
    rows = last if rows is None else np.asarray(rows)
    future = np.array([["2021-01-01"]], "datetime64[D]") if future is None else future
    return window_hashes(prices, rows, lookback, future, np.zeros(len(rows), int)).to_list()


def content(prices: PriceArray, row: int, lookback: int) -> bytes:
    part = slice(row - lookback + 1, row + 1)
    return b"".join(
        array.tobytes()
        for array in (prices.dates[part], prices.values[part], prices.adjustment[part][1:])
    )


@given(
    lookback=st.integers(2, 40),
    row=st.integers(0, ROWS * TICKERS - 1),
    column=st.sampled_from(["values", "adjustment", "dates"]),
)
@settings(max_examples=60, deadline=None)
def test_a_change_renames_the_windows_that_hold_it_and_no_other(prices, lookback, row, column):
    changed = getattr(prices, column).copy()
    changed[row] = changed[row] + (1 if column == "dates" else changed[row] * 2e-16 + 1e-15)
    other = dataclasses.replace(prices, **{column: changed})
    last = np.concatenate(
        [np.arange(i * ROWS + lookback - 1, (i + 1) * ROWS) for i in range(TICKERS)]
    )
    same = [content(prices, r, lookback) == content(other, r, lookback) for r in last]
    pairs = zip(hashes(prices, lookback), hashes(other, lookback), strict=True)
    assert [a == b for a, b in pairs] == same


@pytest.mark.parametrize("lookback", [1, 2, 3, 7, 8, 31, 60])
def test_a_name_does_not_depend_on_what_else_is_named(prices, lookback):
    every = hashes(prices, lookback)
    rows = [i * ROWS + r for i in range(TICKERS) for r in range(lookback - 1, ROWS)]
    assert len(set(every)) == len(every)
    backwards = hashes(prices, lookback, rows[::-1])
    assert backwards[::-1] == every
    for i in (0, len(rows) // 2, len(rows) - 1):
        assert hashes(prices, lookback, [rows[i]]) == [every[i]]


def test_many_blocks_name_as_one_does(prices, monkeypatch):
    every = hashes(prices, 20)
    monkeypatch.setattr("engine.scoring.window_hash.BLOCK_ROWS", 7)
    assert hashes(prices, 20) == every


def test_the_order_of_bars_and_the_forecasts_dates_count(prices):
    swapped = prices.values.copy()
    swapped[[30, 31]] = swapped[[31, 30]]
    other = dataclasses.replace(prices, values=swapped)
    assert hashes(prices, 20, [40]) != hashes(other, 20, [40])
    later = np.array([["2021-01-02"]], "datetime64[D]")
    assert hashes(prices, 20, [40]) != hashes(prices, 20, [40], later)


def test_names_are_stable_from_run_to_run(prices):
    """Other names would make every finished shard worthless: raise the fingerprint's version."""
    assert hashes(prices, 20, [40, 100]) == ["8ccx9XHFv1iV", "FtLCR5HkL_vK"]


def test_no_windows_have_no_names(prices):
    none = np.array([], dtype=int)
    assert window_hashes(prices, none, 20, np.empty((0, 1), "M8[D]"), none).dtype == pl.String
    assert hashes(prices, 20, none) == []

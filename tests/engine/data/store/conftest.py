from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from engine.data.contract import conform
from engine.data.store import PriceStore
from engine.data.store.writer import Delivery, ImportResult, StoreWriter


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "prices.duckdb"


@pytest.fixture
def imported(path) -> Callable[..., ImportResult]:
    """imported(rows, rows …): one import, a batch an argument, rows in any types of the contract."""
    count = [0]

    def add(*batches: pl.DataFrame, calendar: str | None = None, **given) -> ImportResult:
        count[0] += 1
        parts = [conform(rows.lazy(), source="file", zone="UTC").collect() for rows in batches]
        with StoreWriter.open(path, calendar=calendar) as writer:
            return writer.add(Delivery("file", "file", f"hash {count[0]}", batches=parts, **given))

    return add


@pytest.fixture
def store(path) -> Callable[..., PriceStore]:
    return lambda **given: PriceStore.open(path, **given)

"""Scoring in this process: the actor's code without the actor."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import pytest

from engine.forecasters.rules import RuleSpec
from engine.scoring.driver import score_shards_here
from engine.scoring.plan import cut_shards, plan_windows
from engine.scoring.pool import PoolError
from engine.scoring.price_array import PriceArray
from engine.scoring.shard_store import ShardStore


@pytest.fixture
def planned(bars, calendar):
    prices = PriceArray.from_bars(bars)
    days = bars["date"].unique().sort().to_list()
    plan = plan_windows(prices, calendar, days[40:60:5], lookback=30, steps=5, seed=1)
    return prices, plan


def test_every_shard_is_committed_and_counted(planned, tmp_path):
    prices, plan = planned
    store = ShardStore(tmp_path, "f" * 64)
    shards = cut_shards(plan, plan.planned, 5)
    told = []
    outcome = score_shards_here(
        shards, spec=RuleSpec("momentum"), prices=prices, lookback=30, store=store, threads=1,
        progress=told.append,
    )  # fmt: skip
    assert (outcome.windows, outcome.shards, outcome.failed) == (
        plan.planned.height,
        len(shards),
        {},
    )
    stored = store.read().frame
    found = stored.select("asof", "ticker").unique().sort("asof", "ticker")
    assert found.equals(plan.planned.select("asof", pl.col("ticker").cast(pl.String)))
    assert [status.shards for status in told] == list(range(1, len(shards) + 1))


@dataclass(frozen=True)
class Broken:
    error: Exception

    def identity(self):
        return {"forecaster": "broken"}

    def build(self, threads):
        raise self.error


def test_what_cannot_be_loaded_is_told_apart_from_want_of_memory(planned, tmp_path):
    prices, plan = planned
    store = ShardStore(tmp_path, "f" * 64)
    arguments = {"prices": prices, "lookback": 30, "store": store, "threads": 1}
    shards = cut_shards(plan, plan.planned, 5)
    with pytest.raises(PoolError, match=r"cannot be loaded: .*half a file"):
        score_shards_here(shards, spec=Broken(OSError("half a file")), **arguments)
    with pytest.raises(MemoryError):
        score_shards_here(shards, spec=Broken(MemoryError()), **arguments)
    assert not store.names()

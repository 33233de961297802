"""The scoring loop on real Ray actors: complete, the same bits, and not stopped by failures."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from engine.config.settings import ScoringSettings
from engine.scoring.cluster import ray_cluster
from engine.scoring.driver import PoolError
from engine.scoring.factors import FactorSpec
from engine.scoring.score import Scored, score_market

ASOFS = [date(2020, 6, 30), date(2020, 7, 31), date(2020, 8, 31), date(2020, 9, 30)]
POISON = ("BBB", np.datetime64("2020-08-31"))


@dataclass(frozen=True)
class Faulty:
    """Momentum, with a fault at one window or at start; says in a file what it did."""

    fault: str
    diary: str
    inner: FactorSpec = field(default_factory=lambda: FactorSpec("momentum"))

    def identity(self) -> dict[str, Any]:
        return self.inner.identity()

    def note(self, what: str) -> int:
        with open(self.diary, "a") as file:
            file.write(what + "\n")
        with open(self.diary) as file:
            return file.read().split().count(what)

    def build(self, threads: int) -> Faulty:
        started = self.note("start")
        if self.fault == "start" or (self.fault == "start twice" and started <= 2):
            raise RuntimeError("no such device")
        return self

    def score(self, panel, asof) -> pl.DataFrame:
        hit = [i for i in range(len(panel)) if (panel.tickers[i], asof[i]) == POISON]
        if hit and self.fault == "raise":
            raise ValueError("poison bar")
        if hit and self.fault == "hang":
            time.sleep(60)
        if hit and self.fault == "die":
            os.abort()
        if hit and self.fault == "die once" and self.note("die") == 1:
            os.abort()
        frame = self.inner.build(1).score(panel, asof)
        if hit and self.fault == "nan":
            poison = (pl.col("ticker") == POISON[0]) & (pl.col("asof") == POISON[1].item())
            return frame.filter(~poison)
        return frame


@pytest.fixture(scope="module", autouse=True)
def ray():
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with ray_cluster(None, cpus=2, object_bytes=0):
        yield


@pytest.fixture
def score(bars, calendar, tmp_path):
    def run(spec, shards: Path | None = None, asofs=ASOFS, **settings) -> Scored:
        scoring = ScoringSettings(
            **{
                "lookback": 30,
                "horizons": [5, 10],
                "batch_size": 16,
                "sampling": {"paths": 4},
                "actors": 2,
                "max_retries": 1,
                "cache": "off",
                **settings,
            }
        )
        return score_market(
            bars,
            calendar,
            asofs,
            spec=spec,
            scoring=scoring,
            seed=0,
            shards=shards or tmp_path / "shards",
            console=Console(quiet=True),
        )

    return run


@pytest.fixture
def clean(score, tmp_path) -> pl.DataFrame:
    return score(FactorSpec("momentum"), tmp_path / "clean").scores


def test_every_window_is_scored(clean):
    assert clean.height == len(ASOFS) * 3 * 2
    assert clean["status"].unique().to_list() == ["ok"]


def test_the_number_of_actors_changes_nothing(score, clean, tmp_path):
    for actors in (1, 2):
        again = score(FactorSpec("momentum"), tmp_path / f"on{actors}", actors=actors)
        assert again.scores.equals(clean)


def test_a_second_run_scores_nothing(score):
    first = score(FactorSpec("momentum"))
    again = score(FactorSpec("momentum"))
    assert first.counts["windows_computed"] == 12
    assert (again.counts["windows_computed"], again.counts["windows_reused"]) == (0, 12)
    assert (again.counts["shards_computed"], again.counts["shards_reused"]) == (0, 3)
    assert again.scores.equals(first.scores)


def test_only_the_difference_is_computed(score, tmp_path, clean):
    spec = FactorSpec("momentum")
    shards = tmp_path / "growing"
    assert score(spec, shards, asofs=ASOFS[:3]).counts["windows_computed"] == 9
    assert score(spec, shards).counts["windows_computed"] == 3
    fewer = score(spec, shards, horizons=[10])
    assert fewer.counts["windows_computed"] == 0
    assert fewer.scores.equals(clean.filter(horizon=10))
    shorter = score(spec, shards, horizons=[5])  # another generated length: another fingerprint
    assert shorter.counts["windows_reused"] == 0


def test_a_deleted_or_damaged_shard_is_computed_again(score, tmp_path, clean):
    spec, shards = FactorSpec("momentum"), tmp_path / "shards"
    score(spec)
    files = sorted(shards.glob("*.parquet"))
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:100])
    again = score(spec)
    assert again.counts["shards_damaged"] == 1
    assert again.counts["windows_computed"] == 8
    assert again.scores.equals(clean)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise", "ValueError: poison bar"),
        ("hang", "timed out after 2 s"),
        ("die", "actor died"),
        ("nan", "forecast is not finite"),
    ],
)
def test_a_poisonous_window_is_set_aside_and_the_rest_is_right(
    score, clean, tmp_path, fault, reason
):
    scored = score(Faulty(fault, str(tmp_path / "diary")), timeout_s=2, max_retries=0)
    failed = scored.scores.filter(status="failed")
    assert failed.select("asof", "ticker").unique().rows() == [(date(2020, 8, 31), "BBB")]
    assert failed["reason"][0].startswith(reason)
    assert sum(scored.failed.values()) == 1
    key = ["asof", "ticker", "horizon"]
    assert scored.scores.filter(status="ok").equals(
        clean.join(failed, on=key, how="anti", maintain_order="left")
    )


@pytest.mark.parametrize("fault", ["die once", "start twice"])
def test_a_passing_fault_leaves_no_trace_in_the_scores(score, clean, tmp_path, fault):
    scored = score(Faulty(fault, str(tmp_path / "diary")))
    assert scored.scores.equals(clean)
    assert scored.failed == {}


def test_actors_that_cannot_start_are_an_error_not_a_wait(score, tmp_path):
    with pytest.raises(PoolError, match=r"no scoring actor could be started: .*no such device"):
        score(Faulty("start", str(tmp_path / "diary")))

"""The scoring loop on real Ray actors: complete, the same bits, and not stopped by failures."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from s3_stand_in import object_store

from engine.bench.private.chaos_job import Diary, ObservedSpec, wait_for
from engine.bench.private.memory import growth
from engine.config.settings import ScoringSettings
from engine.data.market import Market
from engine.forecasters.rules import RuleSpec
from engine.scoring.driver import PoolError, Slots, score_shards
from engine.scoring.plan import cut_shards, plan_windows
from engine.scoring.price_array import PriceArray
from engine.scoring.score import Scored, score_market
from engine.scoring.shard_store import ShardStore

ASOFS = [date(2020, 6, 30), date(2020, 7, 31), date(2020, 8, 31), date(2020, 9, 30)]
POISON = ("BBB", np.datetime64("2020-08-31"))


@dataclass(frozen=True)
class Faulty:
    """Momentum, with a fault at one window or at start; says in a file what it did."""

    fault: str
    diary: str
    inner: RuleSpec = field(default_factory=lambda: RuleSpec("momentum"))

    def identity(self) -> dict[str, Any]:
        return self.inner.identity()

    def note(self, what: str) -> int:
        with open(self.diary, "a") as file:
            file.write(what + "\n")
        with open(self.diary) as file:
            return file.read().split().count(what)

    def nested_steps(self, lookback: int) -> int | None:
        return None

    def build(self, threads: int) -> Faulty:
        started = self.note("start")
        if self.fault == "start" or (self.fault == "start twice" and started <= 2):
            raise RuntimeError("no such device")
        return self

    def score(self, panel, asof) -> pl.DataFrame:
        hit = [i for i in range(len(panel)) if (panel.tickers[i], asof[i]) == POISON]
        if hit and self.fault == "die":
            os.abort()
        if hit and self.fault == "die once" and self.note("die") == 1:
            os.abort()
        frame = self.inner.build(1).score(panel, asof)
        poison = (pl.col("ticker") == POISON[0]) & (pl.col("asof") == POISON[1].item())
        if self.fault == "leaves out":
            return frame.filter(~poison)
        if self.fault == "stops early":
            return frame.filter(~poison | (pl.col("step") < 10))
        return frame


@dataclass(frozen=True)
class Trouble:
    """Momentum with everything that can go wrong with three windows, and a bad start."""

    diary: str
    faults: dict = field(
        default_factory=lambda: {
            ("AAA", np.datetime64("2020-06-30")): "raise",
            ("BBB", np.datetime64("2020-08-31")): "hang",
            ("CCC", np.datetime64("2020-09-30")): "nan",
        }
    )

    def identity(self) -> dict[str, Any]:
        return RuleSpec("momentum").identity()

    def nested_steps(self, lookback: int) -> int | None:
        return None

    def build(self, threads: int) -> Trouble:
        if Faulty("", self.diary).note("start") <= 2:
            raise RuntimeError("no such device")
        return self

    def score(self, panel, asof) -> pl.DataFrame:
        windows = list(zip(panel.tickers, asof, strict=True))
        faults = {self.faults.get(window): window for window in windows}
        if "raise" in faults:
            raise ValueError("poison bar")
        if "hang" in faults:
            time.sleep(60)
        frame = RuleSpec("momentum").build(1).score(panel, asof)
        if "nan" not in faults:
            return frame
        ticker, day = faults["nan"]
        poison = (pl.col("ticker") == ticker) & (pl.col("asof") == day.item())
        score = pl.when(poison).then(float("nan")).otherwise("terminal_score")
        return frame.with_columns(terminal_score=score)


@pytest.fixture(scope="module", autouse=True)
def _ray_that_knows_the_specs(shared_ray):
    shared_ray.start()
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def score_into(bars, calendar):
    def run(
        folder: Path, spec, shards: Path | str | None = None, asofs=ASOFS, bars=bars, **settings
    ):
        scoring = ScoringSettings(
            **{
                "lookback": 30,
                "horizons": [5, 10],
                "batch_size": 16,
                "sampling": {"paths": 4},
                "actors": 2,
                "max_retries": 1,
                "cache": "off",
                "shards": shards if isinstance(shards, str) else None,
                **settings,
            }
        )
        return score_market(
            Market.from_bars(bars, calendar),
            asofs,
            spec=spec,
            scoring=scoring,
            seed=0,
            shards=shards if isinstance(shards, Path) else folder / "shards",
            console=Console(quiet=True),
        )

    return run


@pytest.fixture
def score(score_into, tmp_path) -> Callable[..., Scored]:
    return partial(score_into, tmp_path)


@pytest.fixture(scope="module")
def clean(score_into, tmp_path_factory) -> pl.DataFrame:
    return score_into(tmp_path_factory.mktemp("clean"), RuleSpec("momentum")).scores


def test_every_window_is_scored(clean):
    assert clean.height == len(ASOFS) * 3 * 2
    assert clean["status"].unique().to_list() == ["ok"]


def test_the_number_of_actors_changes_nothing(score, clean, tmp_path):
    for actors in (1, 2):
        again = score(RuleSpec("momentum"), tmp_path / f"on{actors}", actors=actors)
        assert again.scores.equals(clean)


def test_a_second_run_scores_nothing(score):
    first = score(RuleSpec("momentum"))
    again = score(RuleSpec("momentum"))
    assert first.counts["windows_computed"] == 12
    assert (again.counts["windows_computed"], again.counts["windows_reused"]) == (0, 12)
    assert (again.counts["shards_computed"], again.counts["shards_reused"]) == (0, 3)
    assert again.scores.equals(first.scores)


def test_only_the_difference_is_computed(score, bars, tmp_path, clean):
    def computed(**asked) -> int:
        scored = score(RuleSpec("momentum"), tmp_path / "growing", **asked)
        counts, wanted = scored.counts, clean
        if "horizons" in asked:
            wanted = clean.filter(pl.col("horizon").is_in(asked["horizons"]))
        have = scored.scores.select("asof", "ticker").unique()
        wanted = wanted.join(have, on=["asof", "ticker"], how="semi", maintain_order="left")
        if asked.get("score") != "path_mean":
            assert scored.scores.equals(wanted)
        assert counts["windows_reused"] + counts["windows_computed"] == counts["windows_planned"]
        return counts["windows_computed"]

    two = bars.filter(pl.col("ticker") != "BBB")
    assert computed(bars=two, asofs=ASOFS[:3]) == 6
    assert computed(bars=two) == 2  # a date more
    assert computed() == 4  # a ticker more
    assert computed(score="path_mean") == 0
    assert computed(horizons=[10]) == 0
    assert computed(horizons=[5]) == 0
    assert computed(horizons=[3, 7, 10], score="path_mean") == 0


def test_a_shorter_forecast_is_read_from_a_longer_one(score, clean, bars, tmp_path):
    """From the run's own folder and from the cache; what is missing is made as short as asked."""
    spec, cache = RuleSpec("momentum"), str(tmp_path / "cache")
    alone = score(spec, tmp_path / "alone", horizons=[5])
    assert alone.scores.equals(clean.filter(horizon=5))
    score(spec, tmp_path / "long", asofs=ASOFS[:2], cache=cache)
    for folder, done in (("long", (6, 6)), ("other", (12, 0))):
        short = score(spec, tmp_path / folder, horizons=[5], cache=cache)
        counts = short.counts
        assert short.scores.equals(alone.scores)
        assert (short.fingerprint, short.identity["steps"]) == (alone.fingerprint, 5)
        assert (counts["windows_reused"], counts["windows_computed"]) == done
        assert counts["windows_from_longer"] == 6
    longer = score(spec, tmp_path / "other", horizons=[5, 10])
    assert (longer.counts["windows_from_longer"], longer.counts["windows_reused"]) == (0, 6)
    other_bars = bars.with_columns(pl.col("close") * 1.001)
    fresh = score(spec, tmp_path / "long", horizons=[4], bars=other_bars)
    assert fresh.counts["windows_reused"] == 0


def test_a_deleted_or_damaged_shard_is_computed_again(score, tmp_path, clean):
    spec, shards = RuleSpec("momentum"), tmp_path / "shards"
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
        ("die", "actor died"),
        ("leaves out", "forecast is not finite"),
        ("stops early", "forecast lacks steps"),
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


def test_three_poisonous_windows_and_a_bad_start_leave_everything_else_right(
    score, clean, tmp_path
):
    scored = score(Trouble(str(tmp_path / "diary")), timeout_s=2, max_retries=0)
    failed = scored.scores.filter(status="failed", horizon=5)
    assert dict(failed.select("ticker", "reason").iter_rows()) == {
        "AAA": "ValueError: poison bar",
        "BBB": "timed out after 2 s",
        "CCC": "forecast is not finite",
    }
    assert sum(scored.failed.values()) == 3
    key = ["asof", "ticker", "horizon"]
    rest = clean.join(failed, on=key[:2], how="anti", maintain_order="left")
    assert scored.scores.filter(status="ok").equals(rest)


@pytest.mark.parametrize("fault", ["die once", "start twice"])
def test_a_passing_fault_leaves_no_trace_in_the_scores(score, clean, tmp_path, fault):
    scored = score(Faulty(fault, str(tmp_path / "diary")))
    assert scored.scores.equals(clean)
    assert scored.failed == {}


def test_actors_that_cannot_start_are_an_error_not_a_wait(score, tmp_path):
    with pytest.raises(PoolError, match=r"no scoring actor could be started: .*no such device"):
        score(Faulty("start", str(tmp_path / "diary")))


def test_killed_actors_cost_a_shard_each_and_change_nothing(score, clean, tmp_path):
    diary = Diary(tmp_path / "diary")
    killed: list[int] = []
    done = threading.Event()

    def kill() -> None:
        while len(killed) < 2 and not done.is_set():
            enough = wait_for(lambda: diary.counts().total() > 2 * len(killed), stop=done)
            alive = [pid for pid in diary.actors() if pid not in killed]
            if enough and alive:
                os.kill(alive[-1], signal.SIGKILL)
                killed.append(alive[-1])
            time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        spec = ObservedSpec(RuleSpec("momentum"), str(tmp_path / "diary"), 0.3)
        scored = score(spec, sampling={"paths": 16})  # a window a shard
    finally:
        done.set()
        killer.join()
    counts = diary.counts()
    assert len(killed) == 2
    assert (len(counts), scored.counts["shards_computed"]) == (12, 12)
    assert counts.total() - len(counts) <= len(killed)
    assert scored.scores.drop("n_paths").equals(clean.drop("n_paths"))


def test_tiny_shards_share_files_and_are_all_there(bars, calendar, tmp_path, monkeypatch):
    for limit in ("SHORT_S", "CALL_S"):  # tiny on a busy machine too
        monkeypatch.setattr(f"engine.scoring.driver.{limit}", 60.0)
    asofs = calendar.sessions(date(2020, 4, 1), date(2020, 12, 1))
    prices = PriceArray.from_bars(bars)
    plan = plan_windows(prices, calendar, asofs, lookback=30, steps=2, seed=0)
    shards = cut_shards(plan, plan.planned, 1)
    store = ShardStore(tmp_path / "shards", "a" * 64)
    outcome = score_shards(
        shards,
        spec=RuleSpec("momentum"),
        prices=prices,
        lookback=30,
        store=store,
        slots=Slots(2),
    )
    assert (outcome.shards, outcome.windows) == (len(shards), len(shards))
    frame = store.read().frame
    assert frame["shard"].n_unique() == len(shards)
    assert frame.select("asof", "ticker").unique().height == plan.planned.height
    assert len(store.names()) < len(shards)


def test_memory_stays_flat_over_many_shards(tmp_path):
    samples = growth(1_500, tmp_path, lambda shards: None)
    # Samples follow the clock, so the one after 500 shards need not be the third part of them.
    warm = np.searchsorted(samples[:, 0], 500)
    shards, driver, objects = (samples[-1] - samples[warm]).tolist()
    assert shards > 500
    assert driver < 4_000 * shards  # a reply that is not let go takes 10 kB
    assert objects < 1_000 * shards


def test_another_run_reuses_the_cached_windows(score, clean, tmp_path):
    spec, cache = RuleSpec("momentum"), str(tmp_path / "cache")
    first = score(spec, tmp_path / "one", asofs=ASOFS[:3], cache=cache)
    again = score(spec, tmp_path / "two", cache=cache)
    assert first.counts["windows_computed"] == 9
    assert (again.counts["windows_reused"], again.counts["windows_computed"]) == (9, 3)
    assert again.scores.equals(clean)
    alone = score(spec, tmp_path / "two")  # the run folder needs no cache any more
    assert alone.counts["windows_computed"] == 0
    apart = score(spec, tmp_path / "three", cache="off")
    assert apart.counts["windows_reused"] == 0


def test_shards_may_lie_in_an_object_store(score, clean):
    with object_store() as server:
        uri = server.uri("bucket/shards")
        first = score(RuleSpec("momentum"), shards=uri, asofs=ASOFS[:3])
        again = score(RuleSpec("momentum"), shards=uri)
    assert first.counts["windows_computed"] == 9
    assert (again.counts["windows_reused"], again.counts["windows_computed"]) == (9, 3)
    assert again.scores.equals(clean)


def test_a_forward_that_does_not_fit_halves_the_batch_for_the_whole_run(score, tmp_path):
    large = score(Hungry(64), tmp_path / "large", batch_size=64)
    small = score(Hungry(16), tmp_path / "small", batch_size=16)
    assert (large.counts["batch_size"], large.counts["batch_halvings"]) == (16, 2)
    assert large.fingerprint == small.fingerprint
    assert large.scores.equals(small.scores)


@dataclass(frozen=True)
class Hungry:
    """Momentum that has memory for 16 rows."""

    batch_size: int

    def identity(self) -> dict[str, Any]:
        return {"forecaster": "hungry"}

    def nested_steps(self, lookback: int) -> int | None:
        return 0

    def build(self, threads: int) -> Hungry:
        if self.batch_size > 16:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return self

    def score(self, panel, asof) -> pl.DataFrame:
        return RuleSpec("momentum").build(1).score(panel, asof)


def test_room_that_is_not_there_is_an_error_within_the_deadline(score, tmp_path):
    with pytest.raises(PoolError, match="no node of the cluster had room for one with 64 CPUs"):
        score(RuleSpec("momentum"), cpus_per_actor=64, start_timeout_s=1)

"""What becomes of a shard that failed, without any actor."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from engine.scoring.plan import cut_shards, plan_windows
from engine.scoring.price_array import PriceArray
from engine.scoring.work import WorkQueue

ASOFS = [date(2020, 6, 30), date(2020, 7, 31), date(2020, 8, 31), date(2020, 9, 30)]
A, B = 1, 2  # two actors


@pytest.fixture
def queue(bars, calendar):
    prices = PriceArray.from_bars(bars)

    def build(size: int, max_retries: int = 1) -> WorkQueue:
        plan = plan_windows(prices, calendar, ASOFS, lookback=30, steps=5, seed=0)
        return WorkQueue(cut_shards(plan, plan.planned, size), prices, max_retries)

    return build


def take(queue: WorkQueue, actor: int = A, most: int = 1, now: float = 0.0, only: bool = False):
    return queue.take(actor, most, now, only_actor=only)


def sizes(works) -> list[int]:
    return [len(work.shard) for work in works]


def test_every_shard_is_given_once_in_calls_of_the_size_asked(queue):
    work = queue(3)
    assert len(work) == 4
    assert [sizes(take(work, most=3)) for _ in range(3)] == [[3, 3, 3], [3], []]
    assert len(work) == 0


def test_a_raised_fault_halves_down_to_the_window_which_is_retried_then_quarantined(queue):
    work = queue(4, max_retries=2)
    while len(work) > 1:
        take(work)  # leave one shard of four windows
    shard = take(work)
    poison = shard[0].shard.hashes[3]
    now, fine, waits = 0.0, [], []
    while not work.failed:
        if shard and poison in shard[0].shard.hashes:
            work.fail(shard, "raised", "bad bar", A, now)
        else:
            fine += sizes(shard)
        shard = take(work, B, now=now)
        if not shard and not work.failed:
            waits.append(now)
            now += 0.25
            shard = take(work, B, now=now)
    assert fine == [2, 1]
    assert len(waits) > 2  # a lone window waits before each try
    assert list(work.failed.values()) == ["bad bar"]
    assert work.retries == 5  # 4 windows, 2, and 1 three times


def test_the_first_death_may_be_the_actors_own_so_the_shard_stays_whole(queue):
    work = queue(3)
    shard = take(work)
    work.fail(shard, "died", "killed", A, 0.0)
    shard = take(work, B)
    assert sizes(shard) == [3]
    work.fail(shard, "died", "killed", B, 0.0)
    assert sizes(take(work, A)) == [1]
    assert sizes(take(work, A)) == [2]


def test_a_lone_window_too_has_a_free_death(queue):
    work = queue(1, max_retries=0)
    work.fail(take(work), "died", "killed", A, 0.0)
    assert work.failed == {}
    work.fail(take(work, B), "died", "killed", B, 0.0)
    assert list(work.failed.values()) == ["killed"]


def test_a_death_with_the_whole_node_blames_nobody(queue):
    work = queue(1, max_retries=0)
    for _ in range(5):
        work.fail(take(work), "node", "gone", A, 0.0)
    assert work.failed == {}
    assert len(work) == 12


def test_failed_work_goes_to_another_actor_if_there_is_one(queue):
    work = queue(12)
    work.fail(take(work), "raised", "bad bar", A, 0.0)
    assert take(work, A) == []
    assert sizes(take(work, B)) == [6]
    assert sizes(take(work, A, only=True)) == [6]


def test_a_call_of_many_shards_is_first_taken_apart(queue):
    work = queue(3, max_retries=0)
    work.fail(take(work, most=4), "late", "slow", A, 0.0)
    calls = [take(work, A, most=4) for _ in range(4)]
    assert [sizes(call) for call in calls] == [[3]] * 4
    assert work.failed == {}


def test_given_back_work_comes_first_and_in_order(queue):
    work = queue(3)
    one, two = take(work), take(work)
    work.give_back(two)
    work.give_back(one)
    assert take(work) + take(work) == one + two


def test_larger_shards_go_first(queue):
    whole = queue(5)
    shards = sorted(whole.shards, key=len)
    work = WorkQueue(shards, whole.prices, 1)
    assert [sizes(take(work))[0] for _ in range(3)] == [5, 5, 2]


def test_all_windows_are_in_exactly_one_place_after_any_faults(queue):
    rng = np.random.default_rng(0)
    for _ in range(20):
        work = queue(5, max_retries=1)
        wanted = {h for shard in work.shards for h in shard.hashes}
        scored: list[str] = []
        now = 0.0
        while len(work):
            now += 1.0
            actor = int(rng.integers(1, 3))
            works = take(work, actor, most=int(rng.integers(1, 4)), now=now, only=now > 200)
            if works and rng.random() < 0.4 and now < 500:
                fault = ("raised", "late", "died", "node")[rng.integers(4)]
                work.fail(works, fault, "chance", actor, now)
            else:
                scored += [h for w in works for h in w.shard.hashes]
        assert len(scored) == len(set(scored))
        assert set(scored) < wanted or set(scored) == wanted
        assert len(scored) + len(work.failed) == len(wanted)

"""A node that dies under a run, and a driver that is killed: the same scores, little done twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from engine.bench.private.chaos import Disturbed, kill_driver, kill_node
from engine.bench.private.chaos_job import Job, run_job


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> Job:
    folder = tmp_path_factory.mktemp("whole")
    return Job(str(folder), tickers=8, asofs=12, shard=4, shard_s=0.2)


@pytest.fixture
def whole(job, ray):
    if not (Path(job.folder) / "done.json").exists():
        run_job(job, Console(quiet=True))
    return Disturbed(job, 0, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("disturb", "shard_s", "lost"),
    [(kill_node, 0.2, 1), (lambda job: kill_driver(job, (0.5,)), 0.08, 2)],
    ids=["node", "driver"],
)
def test_a_kill_changes_no_score_and_costs_a_shard_an_actor(
    job, whole, disturb, shard_s, lost, tmp_path
):
    """Also where shards are quick: an actor has no second one before the first is committed."""
    done = disturb(replace(job, folder=str(tmp_path), shard_s=shard_s))
    assert whole.recomputed == 0
    assert done.scores == whole.scores
    assert done.recomputed <= lost
    assert done.on_joined is None or done.on_joined > 0  # a node that joins late gets work
    assert not list(Path(done.job.folder).rglob("*.part"))

"""A small calibration: nothing passes without skill, perfect foresight is perfect."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.bench.private.calibration import calibrate, table
from engine.bench.private.worlds import SKILL, World, make_world, scores_of

SMALL = {"names": 40, "years": 3, "draws": 40, "top_k": 10}
WORLDS = 6


def no_skill(world: World) -> pl.DataFrame:
    """A rival whose RankIC is 0 on every date: gate 2 asks for its floor."""
    keys = world.panel.select("asof", "horizon").unique()
    return keys.with_columns(rank_ic=pl.lit(0.0))


@pytest.fixture(scope="module")
def found() -> list[dict]:
    return [row for seed in range(WORLDS) for row in calibrate(seed, SMALL, baseline=no_skill)]


@pytest.fixture(scope="module")
def rate(found) -> Callable[..., float]:
    def share(scores: str, gate: str, verdict: str) -> float:
        part = [row for row in found if row["scores"] == scores]
        return float(np.mean([row["verdicts"][gate] == verdict for row in part]))

    return share


@pytest.mark.long
@pytest.mark.parametrize("gate", ["factor", "ml", "practical"])
def test_without_skill_hardly_a_gate_passes(rate, gate):
    for scores in ("independent", "persistent"):
        assert rate(scores, gate, "PASS") <= 2 / (2 * WORLDS)
    assert rate("inverted", gate, "PASS") == 0


@pytest.mark.long
def test_skill_is_seen_and_foresight_is_perfect(found, rate):
    assert rate("planted", "factor", "FAIL") == 0
    planted = [r["rank_ic"].values() for r in found if r["scores"] == "planted"]
    assert np.mean([list(means) for means in planted]) == pytest.approx(SKILL, abs=0.02)
    perfect = [row for row in found if row["scores"] == "foresight"]
    assert all(v == pytest.approx(1.0) for row in perfect for v in row["rank_ic"].values())
    assert all(row["verdicts"]["factor"] == "PASS" for row in perfect)


@pytest.mark.long
def test_intervals_mostly_hold_the_truth(found):
    covered = [
        hit
        for row in found
        if row["scores"] in ("independent", "persistent", "planted")
        for hit in row["covered"].values()
    ]
    assert np.mean(covered) > 0.85
    columns, rows = table(found)
    assert {len(row) for row in rows} == {len(columns)}


def test_worlds_are_drawn_from_their_seed_and_hold_nothing_to_predict():
    world, again = (make_world(3, names=20, years=1) for _ in range(2))
    assert world.panel.equals(again.panel)
    assert all(np.array_equal(a, b) for a, b in zip(
        scores_of(world).values(), scores_of(again).values(), strict=True))  # fmt: skip
    assert world.panel["mature"].all()
    assert world.panel["label"].null_count() == 0
    labels = np.array([make_world(s, names=20, years=1).panel["label"].mean() for s in range(6)])
    assert abs(labels.mean()) < 0.01


OWNER = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from engine.bench.private.calibration import end_with_parent

if __name__ == "__main__":
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(600)
"""


def test_workers_of_a_killed_calibration_end(tmp_path):
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    owner = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    worker = Path("/proc") / owner.stdout.readline().strip() / "stat"
    assert worker.exists()
    owner.kill()
    owner.communicate()
    deadline = time.monotonic() + 30
    while not ended(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ended(worker)


def ended(stat: Path) -> bool:
    """Gone, or a zombie that nobody has collected."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True

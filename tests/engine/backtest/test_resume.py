"""A run killed in the middle goes on where it stopped, to the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest
from places import DATA

MODEL = DATA / "kronos" / "learned"
SPAN = (date(2017, 1, 3), date(2019, 3, 29))


@pytest.fixture(scope="module")
def command(make_bars, tmp_path_factory):
    prices = tmp_path_factory.mktemp("bars") / "prices.parquet"
    make_bars({f"T{n:02d}": SPAN for n in range(12)}, seed=5).write_parquet(prices)

    def build(runs: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "engine.backtest", "--run.dir", str(runs), "--run.name", "run"),
            *("--data.source", "parquet", "--data.path", str(prices), "--data.benchmark", "null"),
            *("--model.name", str(MODEL), "--scoring.lookback", "48", "--scoring.batch_size", "16"),
            *("--scoring.sampling.temperature", "1", "--scoring.sampling.paths", "4"),
            *("--scoring.actors", "1", "--scoring.horizons", "10"),
            *("--evaluation.start", "2018-08-01", "--baselines.lightgbm.enabled", "false"),
        ]

    return build


def working(session: int) -> list[str]:
    """Live processes of a session, but for Ray's two idle agents, which stay for its minute."""
    alive = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z" and not command.endswith("Agent"):
            alive.append(command)
    return alive


@pytest.mark.long
def test_a_killed_run_is_finished_by_the_next(command, tmp_path):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    whole = subprocess.Popen(command(tmp_path / "whole"), **quiet)
    broken = subprocess.Popen(command(tmp_path / "broken"), start_new_session=True, **quiet)
    try:
        shards = tmp_path / "broken" / "run" / "shards"
        deadline = time.monotonic() + 120
        while len(list(shards.glob("*.parquet"))) < 3:
            assert broken.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(broken.pid, signal.SIGKILL)
        broken.wait()
        assert not (shards.parent / "scores.parquet").exists()
        subprocess.run(command(tmp_path / "broken"), check=True, **quiet)
        assert whole.wait() == 0
    finally:
        whole.kill()
        broken.kill()

    one, two = (tmp_path / runs / "run" for runs in ("broken", "whole"))
    assert (one / "scores.parquet").read_bytes() == (two / "scores.parquet").read_bytes()
    resumed, fresh = (json.loads((folder / "manifest.json").read_text()) for folder in (one, two))
    assert resumed["windows_reused"] >= 3 * 4
    assert resumed["windows_reused"] + resumed["windows_computed"] == fresh["windows_computed"]
    while left := working(broken.pid):  # Ray's own follow a dead driver within seconds
        assert time.monotonic() < deadline, left
        time.sleep(0.2)

"""Scoring while actors, nodes and the driver are killed: the same scores, nothing done twice."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engine.bench.private.chaos_job import Diary, Job, committed, start_job, wait_for
from engine.bench.result import BenchResult

__all__ = ["Disturbed", "kill_actors", "kill_driver", "kill_node", "run", "undisturbed"]

SUMMARY = "scoring under kill -9 of actors, a node and the driver"
KILL_EVERY_S = 2.0


class Disturbed:
    """A finished job: its kills, its seconds, its scores, shards computed twice, and windows
    scored on a node that joined late."""

    def __init__(self, job: Job, kills: int, seconds: float) -> None:
        self.job = job
        self.kills = kills
        self.seconds = seconds
        counts = Diary(Path(job.folder)).counts()
        self.recomputed = counts.total() - len(counts)
        self.scores = (Path(job.folder) / "scores.parquet").read_bytes()
        done = json.loads((Path(job.folder) / "done.json").read_text(encoding="utf-8"))
        self.on_joined: int | None = done["windows_on_joined"]


def undisturbed(job: Job) -> Disturbed:
    """The job left alone."""
    return _measure(job, lambda process: 0)


def kill_actors(job: Job, *, most: int | None = None, every_s: float = KILL_EVERY_S) -> Disturbed:
    """The job, a random live actor killed every two seconds."""
    diary = Diary(Path(job.folder))
    chosen = random.Random(0)

    def disturb(process: subprocess.Popen[bytes]) -> int:
        kills = 0
        wait_for(lambda: committed(Path(job.folder)) > 0 or process.poll() is not None)
        while process.poll() is None and (most is None or kills < most):
            alive = diary.actors()
            if alive:
                os.kill(chosen.choice(alive), signal.SIGKILL)
                kills += 1
            wait_for(lambda: process.poll() is not None, seconds=every_s)
        return kills

    return _measure(job, disturb)


def kill_node(job: Job) -> Disturbed:
    """The job on two nodes of one core, of which the second is killed and later replaced."""
    return _measure(replace(job, nodes=2, drop_at=0.1, join_at=0.15), lambda process: 1)


def kill_driver(job: Job, shares: tuple[float, ...] = (0.1, 0.5, 0.9)) -> Disturbed:
    """The job, its driver killed at these shares of the shards and started again."""
    started = time.perf_counter()
    for share in shares:
        _kill_driver_at(job, share)
    undisturbed(job)
    return Disturbed(job, len(shares), time.perf_counter() - started)


def _kill_driver_at(job: Job, share: float) -> None:
    process = subprocess.Popen(start_job(job), stdout=subprocess.DEVNULL)
    folder, wanted = Path(job.folder), share * job.shards
    wait_for(lambda: committed(folder) >= wanted or process.poll() is not None)
    if process.poll() is not None:
        raise RuntimeError("the driver ended before it could be killed")
    process.send_signal(signal.SIGKILL)
    process.wait()
    # Its actors end with it, within seconds; they must not be taken for the next driver's.
    wait_for(lambda: not Diary(folder).actors(), seconds=60)


def _measure(job: Job, disturb: Callable[[subprocess.Popen[bytes]], int]) -> Disturbed:
    started = time.perf_counter()
    process = subprocess.Popen(start_job(job), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    kills = disturb(process)
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(
            f"the scoring run ended with {process.returncode}: {said.decode().strip()[-500:]}"
        )
    return Disturbed(job, kills, time.perf_counter() - started)


def run(arguments: list[str]) -> BenchResult:
    """All kills with the fake forecaster and with the nano model."""
    parser = argparse.ArgumentParser(prog="python -m engine.bench chaos", allow_abbrev=False)
    parser.add_argument("--models", nargs="+", default=["fake", "nano"], choices=["fake", "nano"])
    parser.add_argument("--asofs", type=int, default=48, help="decision dates of 40 tickers")
    parser.add_argument("--kills", type=int, default=10, help="actors to kill, one every 2 s")
    options = parser.parse_args(arguments)
    rows = []
    root = Path(tempfile.mkdtemp(prefix="engine-chaos-"))
    try:
        for model in options.models:
            rows += _model_rows(root / model, model, options.asofs, options.kills)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return BenchResult(
        name="chaos",
        columns=[
            "model",
            "killed",
            "kills",
            "shards",
            "computed twice",
            "allowed",
            "on the late node",
            "scores.parquet",
            "seconds",
        ],
        rows=rows,
        notes=[
            "2 actors of 1 core; an actor is killed every 2 s (a nano actor takes longer "
            "than that to start, so the kills are bounded), the second of two nodes at 10 % "
            "(another joins at 15 %), the driver at 10, 50 and 90 % of the shards.",
            "On the late node: windows scored on the node that joined; it is waited for at half "
            "of the shards, because a busy machine may need longer to start it. Equal: byte for "
            "byte that of the undisturbed run, which holds every planned window once.",
            "Computed twice: shards whose computation had ended and was done again. Allowed: one "
            "for each actor that was killed, with a driver both of its actors.",
        ],
    )


def _say(model: str, what: str, done: Disturbed) -> Disturbed:
    print(f"{model}, {what}: {done.seconds:.0f} s", file=sys.stderr, flush=True)
    return done


def _model_rows(root: Path, model: str, asofs: int, kills: int) -> list[list[object]]:
    def job(name: str) -> Job:
        return Job(folder=str(root / name), model=model, asofs=asofs)

    kinds: list[tuple[str, Callable[[Job], Disturbed], int]] = [
        ("nothing", undisturbed, 0),
        ("an actor every 2 s", lambda job: kill_actors(job, most=kills), 1),
        ("one of two nodes", kill_node, 1),
        ("the driver", kill_driver, Job("").actors),
    ]
    trials = [
        (name, _say(model, name, disturb(job(name.replace(" ", "-")))), lost)
        for name, disturb, lost in kinds
    ]
    whole = trials[0][1]
    return [
        [
            model,
            name,
            done.kills,
            done.job.shards,
            done.recomputed,
            done.kills * actors_lost,
            done.on_joined,
            "equal" if done.scores == whole.scores else "DIFFERENT",
            round(done.seconds, 1),
        ]
        for name, done, actors_lost in trials
    ]

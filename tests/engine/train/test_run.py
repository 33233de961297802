"""Whole runs on Ray Train: they repeat, survive their workers and their driver, and load."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path

import polars as pl
import pytest
import torch
from rich.console import Console

from engine.errors import UsageError
from engine.train.journal import read_metrics
from engine.train.run import Trained, train
from kronos import Kronos, KronosTokenizer, checkpoint_info

QUIET = Console(quiet=True)
PARTS = {"tokenizer": KronosTokenizer, "model": Kronos}


def weights(folder: Path, part: str) -> torch.Tensor:
    module = PARTS[part].from_pretrained(folder / part)
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def difference(one: Path, two: Path, part: str) -> float:
    return float((weights(one, part) - weights(two, part)).abs().max())


@pytest.fixture(scope="module")
def unbroken(cluster, settings, tmp_path_factory) -> Trained:
    folder = tmp_path_factory.mktemp("runs") / "unbroken"
    return train(settings(folder, **{"validation.rank_ic": True}), QUIET)


def test_a_run_leaves_what_it_promises(unbroken):
    folder = unbroken.folder.path
    assert {"config.yaml", "manifest.json", "metrics.csv", "run.log"} <= {
        p.name for p in folder.iterdir()
    }
    metrics = read_metrics(folder / "metrics.csv")
    looks = metrics.filter(pl.col("split") == "validation", pl.col("metric") == "loss")
    assert looks.filter(pl.col("stage") == "tokenizer")["step"].to_list() == [0, 12, 24, 30]
    steps = metrics.filter(pl.col("split") == "training", pl.col("metric") == "loss")
    assert steps.filter(pl.col("stage") == "model")["step"].to_list() == [10, 20]
    for stage in ("tokenizer", "model"):
        picture = (folder / "figures" / f"{stage}_loss.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert list((folder / "tensorboard" / stage).glob("events.out.tfevents.*"))
        assert len(list((folder / "checkpoints" / stage).glob("*.pt"))) == 2
    info = checkpoint_info(folder)
    assert info.trained_until == date(2018, 12, 31)
    assert info.max_context == 24
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["trained_until"] == "2018-12-31"
    assert manifest["metrics"]["model"]["s1"] > 0
    ranks = manifest["rank_ic"]["by_forecaster"]
    for name, judged, constant in (("model", 35, 0), ("momentum", 35, 0), ("persistence", 0, 35)):
        assert ranks[name]["5"]["n_dates"] >= judged
        assert ranks[name]["5"]["n_constant"] >= constant
    assert -1 <= ranks["model"]["5"]["rank_ic_mean"] <= 1
    assert ranks["persistence"]["5"]["rank_ic_mean"] is None
    card = (folder / "model" / "README.md").read_text()
    for said in (
        info.model_sha256,
        info.tokenizer_sha256,
        "unigram",
        "sampled from the model",
        "Seed 3",
    ):
        assert said in card
    assert str(folder.parent) not in card


def killer(folder: Path, step: int, hits: list[int]) -> threading.Thread:
    """Kills a training worker of this process's cluster once a checkpoint of `step` is there."""

    def watch() -> None:
        checkpoint = folder / "checkpoints" / "tokenizer" / f"step-{step:09d}.pt"
        deadline = time.monotonic() + 280
        while time.monotonic() < deadline and not hits:
            if checkpoint.exists():
                hits.extend(pid for pid in descendants(os.getpid()) if is_worker(pid))
                if hits:
                    os.kill(hits[0], signal.SIGKILL)
            time.sleep(0.005)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def descendants(root: int) -> list[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found, fresh = [], [root]
    while fresh:
        fresh = [pid for pid, parent in parents.items() if parent in fresh]
        found += fresh
    return found


def is_worker(pid: int) -> bool:
    try:
        return b"RayTrainWorker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_killed_worker_is_replaced(unbroken, settings, tmp_path):
    """To the same weights and the same loss curve, row by row."""
    hits: list[int] = []
    watching = killer(tmp_path / "killed", 5, hits)
    done = train(settings(tmp_path / "killed"), QUIET, stages=("tokenizer",))
    watching.join()
    assert hits
    one, two = unbroken.folder.path, done.folder.path
    assert difference(one, two, "tokenizer") <= 1e-6
    assert curve(one, "tokenizer").equals(curve(two, "tokenizer"))


def curve(folder: Path, stage: str) -> pl.DataFrame:
    return read_metrics(folder / "metrics.csv").filter(pl.col("stage") == stage)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_driver_is_followed_up_by_the_next(unbroken, config, settings, tmp_path):
    folder, base = tmp_path / "broken", unbroken.folder.path / "tokenizer"
    command = [sys.executable, "-m", "engine.train", "--config", str(config), "--stage", "model"]
    place = ["--run.dir", str(tmp_path), "--run.name", "broken", "--tokenizer.base", str(base)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    driver = subprocess.Popen([*command, *place], start_new_session=True, **quiet)
    checkpoints = folder / "checkpoints" / "model"
    deadline = time.monotonic() + 400
    try:
        while not (checkpoints / "step-000000005.pt").exists():
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    assert not (folder / "manifest.json").exists()
    while any(is_worker(pid) for pid in session(driver.pid)):  # they follow a dead driver
        assert time.monotonic() < deadline
        time.sleep(0.1)
    train(settings(folder, **{"tokenizer.base": base}), QUIET, stages=("model",))
    assert difference(unbroken.folder.path, folder, "model") <= 1e-6
    assert curve(unbroken.folder.path, "model").equals(curve(folder, "model"))


def session(leader: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.long
def test_two_workers_with_half_the_batch_are_one_with_all_of_it(unbroken, settings, tmp_path):
    """30 steps of the first stage and 20 of the second."""
    two = train(settings(tmp_path / "of2", **{"workers.count": 2}), QUIET)
    for part in PARTS:
        assert difference(unbroken.folder.path, two.folder.path, part) <= 1e-4


def test_fine_tuning_takes_the_later_date_and_the_bases_shape(
    cluster, unbroken, settings, tmp_path
):
    base = unbroken.folder.path
    names = {"tokenizer.base": base / "tokenizer", "model.base": base}
    later = {"split.training.end": "2017-09-29", "split.validation.end": "2018-03-29"}
    done = train(
        settings(tmp_path / "tuned", **names, **later, **{"model_stage.steps": 4}),
        QUIET,
        stages=("model",),
    )
    info = checkpoint_info(done.folder.path)
    assert info.trained_until == date(2018, 12, 31)  # the base's, later than the run's own
    assert info.tokenizer_sha256 == checkpoint_info(base).tokenizer_sha256
    assert 0 < difference(base, done.folder.path, "model") < 0.1
    for name in ("manifest.json", "model/README.md"):
        assert str(base.parent) not in (done.folder.path / name).read_text()
    # What the small configuration writes of a shape agrees with the base; something else may not.
    with pytest.raises(UsageError, match=r"model\.d_model: 32, but .* has 16"):
        train(settings(tmp_path / "other", **names, **{"model.d_model": 32}), QUIET)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 700 kB: room for a few checkpoints."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(disk)]
    if subprocess.run(size, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_ends_the_run_with_its_checkpoints_intact(
    cluster, unbroken, settings, small_disk
):
    folder = small_disk / "full"
    with pytest.raises(
        UsageError, match=r"cannot be written .*: it goes on from the last"
    ) as caught:
        train(settings(folder, **{"checkpoint.keep": 100}), QUIET, stages=("tokenizer",))
    assert "\n" not in str(caught.value)
    checkpoints = folder / "checkpoints" / "tokenizer"
    kept = sorted(checkpoints.glob("*.pt"))
    assert len(kept) >= 2
    for path in kept:
        torch.load(path, weights_only=True)
    for path in kept[:-1]:
        path.unlink()  # some space
    train(settings(folder), QUIET, stages=("tokenizer",))
    assert difference(unbroken.folder.path, folder, "tokenizer") <= 1e-6


def test_a_run_folder_of_another_run_is_refused(cluster, unbroken, settings):
    folder = unbroken.folder.path
    before = weights(folder, "tokenizer")
    with pytest.raises(UsageError, match=r"tokenizer\.d_model was 16, now 32"):
        train(settings(folder, **{"tokenizer.d_model": 32}), QUIET, stages=("tokenizer",))
    assert torch.equal(weights(folder, "tokenizer"), before)

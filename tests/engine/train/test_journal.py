"""Checkpoints and metrics survive crashes, full disks and other runs."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import polars as pl
import pytest
import torch

from engine.errors import UsageError
from engine.train.journal import CheckpointStore, MetricsLog, read_metrics

RECIPE = {"run.seed": 0, "model.d_model": 16}


def state(step: int) -> dict:
    return {"steps": step, "trained": {"w": torch.full((4,), float(step))}}


def test_the_newest_is_taken_and_the_oldest_dropped(tmp_path):
    store = CheckpointStore(tmp_path / "model", RECIPE, keep=2)
    assert store.latest() is None
    for step in (5, 10, 15):
        store.save(step, state(step))
    kept = sorted(path.name for path in (tmp_path / "model").glob("*.pt"))
    assert kept == ["step-000000010.pt", "step-000000015.pt"]
    assert store.latest()["trained"]["w"].tolist() == [15.0] * 4


def test_a_torn_checkpoint_is_passed_over(tmp_path, caplog):
    store = CheckpointStore(tmp_path, RECIPE, keep=2)
    for step in (5, 10):
        store.save(step, state(step))
    newest = tmp_path / "step-000000010.pt"
    newest.write_bytes(newest.read_bytes()[:300])
    assert store.latest()["steps"] == 5
    assert "step-000000010.pt cannot be read" in caplog.text


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    CheckpointStore(tmp_path, RECIPE, keep=2).save(5, state(5))
    other = CheckpointStore(tmp_path, RECIPE | {"model.d_model": 32}, keep=2)
    with pytest.raises(UsageError, match=r"model\.d_model was 16, now 32"):
        other.latest()


FULL_DISK = """
    import resource, signal, torch
    from engine.train.journal import CheckpointStore
    from pathlib import Path
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = CheckpointStore(Path({folder!r}), {recipe!r}, keep=2)
    store.save(5, {{"steps": 5, "trained": {{"w": torch.zeros(8)}}}})
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        store.save(10, {{"steps": 10, "trained": {{"w": torch.zeros(100_000)}}}})
    except OSError as error:
        print("OSError", error)
"""


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path):
    code = textwrap.dedent(FULL_DISK.format(folder=str(tmp_path), recipe=RECIPE))
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("OSError")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["recipe.json", "step-000000005.pt"]
    assert CheckpointStore(tmp_path, RECIPE, keep=2).latest()["steps"] == 5


def test_metrics_after_the_checkpoint_are_written_anew(tmp_path):
    log = MetricsLog(tmp_path, "tokenizer", 0)
    for step in (10, 20, 30):
        log.write("training", step, {"loss": step / 10, "s1_used": 0.5})
    log.close()
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("tokenizer,training,40,lo")  # the crash
    log = MetricsLog(tmp_path, "tokenizer", 20)
    log.write("validation", 30, {"loss": 9.0})
    log.close()
    rows = read_metrics(tmp_path / "metrics.csv")
    assert rows["step"].to_list() == [10, 10, 20, 20, 30]
    assert rows.filter(pl.col("split") == "validation")["value"].to_list() == [9.0]
    log = MetricsLog(tmp_path, "model", 0)  # the next stage keeps the rows of the one before
    log.close()
    assert read_metrics(tmp_path / "metrics.csv").equals(rows)


def test_no_metrics_yet(tmp_path):
    assert read_metrics(tmp_path / "metrics.csv").is_empty()

"""Weights reach machines that do not have them, and are never taken for others."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
from places import DATA

from engine.config.settings import ModelSettings, ScoringSettings
from engine.forecasters.kronos import KronosSpec

NANO = DATA / "kronos" / "learned"


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    return Path(shutil.copytree(NANO, tmp_path / "driver" / "checkpoint"))


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kronos" / "checkpoints"


def spec(folder: Path, **scoring) -> KronosSpec:
    model = ModelSettings(name=str(folder), device="cpu", profile="exact")
    return KronosSpec.from_settings(model, ScoringSettings(horizons=[5], **scoring))


def test_for_this_machine_only_the_folder_is_named(checkpoint, cache):
    sent = pickle.dumps(spec(checkpoint), protocol=5)
    assert len(sent) < 4_000
    pickle.loads(sent).build(1)
    assert not cache.exists()


def test_for_a_cluster_the_weights_travel_and_are_kept_there(checkpoint, cache):
    own = spec(checkpoint, ray_address="head:6379")
    sent = pickle.dumps(own, protocol=5)
    assert len(sent) > (checkpoint / "model" / "model.safetensors").stat().st_size
    shutil.rmtree(checkpoint)
    received = pickle.loads(sent)
    assert received.identity() == own.identity()
    received.build(1)
    kept = {path.name for path in cache.iterdir()}
    assert kept == {own.identity()["model_sha256"], own.identity()["tokenizer_sha256"]}
    times = [path.stat().st_mtime_ns for path in sorted(cache.rglob("*.safetensors"))]
    pickle.loads(sent).build(1)
    assert times == [path.stat().st_mtime_ns for path in sorted(cache.rglob("*.safetensors"))]


def test_a_damaged_copy_is_written_again(checkpoint, cache):
    sent = pickle.dumps(spec(checkpoint, ray_address="head:6379"), protocol=5)
    pickle.loads(sent).build(1)
    weights = cache / spec(checkpoint).identity()["model_sha256"] / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    pickle.loads(sent).build(1)
    assert weights.read_bytes() == whole


def test_without_a_cache_folder_the_weights_are_used_all_the_same(
    checkpoint, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("no folder can be made in a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    sent = pickle.dumps(spec(checkpoint, ray_address="head:6379"), protocol=5)
    pickle.loads(sent).build(1)


def test_other_weights_than_the_drivers_are_refused(checkpoint):
    own = spec(checkpoint)
    config = checkpoint / "model" / "config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(ValueError, match=r"the model in .* is not the one the driver saw"):
        own.build(1)

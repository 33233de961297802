"""What `engine.data info` tells of the score cache, and how it prunes it."""

from __future__ import annotations

import json
import os

import pytest

from engine.data.__main__ import main


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of two fingerprints, one of them last used long ago."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGINE_SCORING__CACHE", str(tmp_path / "cache"))
    for name, used in (("a" * 64, None), ("b" * 64, 1_000_000_000)):
        folder = tmp_path / "cache" / name
        folder.mkdir(parents=True)
        (folder / f"{name[:16]}-1-2.parquet").write_bytes(b"x" * 1000)
        if used:
            os.utime(folder, (used, used))
    return tmp_path / "cache"


def test_the_cache_is_shown_where_there_is_no_store(cache, tmp_path, capsys):
    assert main(["info", "--json", "out.json"]) == 0
    said = capsys.readouterr().out
    assert "no price store prices.duckdb here" in said
    assert "a" * 16 in said
    found = json.loads((tmp_path / "out.json").read_text())["score_cache"]
    assert [entry["files"] for entry in found["scores"]] == [1, 1]


def test_pruning_removes_what_was_not_used_for_so_long(cache, capsys):
    assert main(["info", "--prune-cache", "30"]) == 0
    assert "1 files" in capsys.readouterr().out
    assert [folder.name[0] for folder in cache.iterdir()] == ["a"]


@pytest.mark.parametrize("days", ["x", "-1", "inf", "nan"])
def test_a_bad_age_is_refused(cache, days, capsys):
    assert main(["info", f"--prune-cache={days}"]) == 2
    assert "--prune-cache" in capsys.readouterr().err


def test_a_cache_that_is_off_is_said_so(cache, monkeypatch, capsys):
    monkeypatch.setenv("ENGINE_SCORING__CACHE", "off")
    assert main(["info"]) == 0
    assert "score cache  off" in capsys.readouterr().out
    assert main(["info", "--prune-cache", "1"]) == 2

"""Shards on disk: whole, checked, and never of another fingerprint."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from engine.scoring.shard_store import ShardStore

MARK = "a" * 64


@pytest.fixture
def store(tmp_path):
    return ShardStore(tmp_path / "shards", MARK)


def rows(ticker: str, score: float = 0.5) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "asof": [date(2020, 1, 31)] * 200,
            "ticker": [ticker] * 200,
            "hash": ["h"] * 200,
            "step": range(200),
            "score": [score + k for k in range(200)],
        }
    )


def test_what_is_committed_is_read_back(store):
    store.commit("one", rows("A"))
    store.commit("two", rows("B"))
    found, damaged = store.read()
    assert damaged == 0
    assert found.drop("shard").equals(pl.concat([rows("A"), rows("B")]))
    assert found["shard"].unique().sort().to_list() == ["one", "two"]


def test_nothing_committed_reads_as_none(store):
    assert store.read() == (None, 0)


def test_a_second_commit_changes_nothing(store):
    store.commit("one", rows("A"))
    before = store.path("one").read_bytes()
    store.commit("one", rows("A"))
    assert store.path("one").read_bytes() == before


def test_a_window_in_two_shards_counts_once(store):
    store.commit("one", rows("A"))
    store.commit("two", rows("A"))
    assert store.read()[0].height == 200


@pytest.mark.parametrize("kept", [0, 1, 20, 500, -1])
def test_a_truncated_file_is_thrown_away(store, kept):
    store.commit("one", rows("A"))
    store.commit("two", rows("B"))
    path = store.path("one")
    path.write_bytes(path.read_bytes()[:kept])
    found, damaged = store.read()
    assert damaged == 1
    assert found["ticker"].unique().to_list() == ["B"]
    assert not path.exists()


def test_a_flipped_byte_never_becomes_a_score(store):
    store.commit("one", rows("A"))
    content = store.path("one").read_bytes()
    whole = store.read()[0]
    for position in range(4, len(content), max(1, len(content) // 60)):
        flipped = bytearray(content)
        flipped[position] ^= 0x10
        store.path("one").write_bytes(bytes(flipped))
        found, damaged = store.read()
        assert (found is None and damaged == 1) or found.equals(whole), position
        store.commit("one", rows("A"))


def test_other_fingerprints_in_the_folder_are_not_read(store, tmp_path):
    store.commit("one", rows("A"))
    other = ShardStore(tmp_path / "shards", "b" * 64)
    assert other.read() == (None, 0)
    assert store.path("one").exists()


def test_a_file_renamed_to_this_fingerprint_is_refused(store, tmp_path):
    other = ShardStore(tmp_path / "shards", "b" * 64)
    other.commit("one", rows("A"))
    other.path("one").rename(store.path("one"))
    assert store.read() == (None, 1)


def test_leftovers_of_a_killed_writer_are_ignored(store):
    store.commit("one", rows("A"))
    beside = store.path("one").with_name(f".{store.path('one').name}.xyz.part")
    beside.write_bytes(b"half")
    assert store.read()[0].height == 200

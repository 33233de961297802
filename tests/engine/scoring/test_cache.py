"""Scores shared between runs: reused, bounded, and never a reason to fail."""

from __future__ import annotations

import os
import time
from datetime import date

import polars as pl
import pytest

from engine.cache import cache_folder, describe_cache, prune_cache
from engine.scoring.cache import ScoreCache, open_cache
from engine.scoring.shard_store import ShardStore, encode_shards

MARK = "a" * 64


def windows(*tickers: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "asof": [date(2020, 1, 31)] * len(tickers),
            "ticker": list(tickers),
            "hash": [f"hash of {ticker}" for ticker in tickers],
        }
    )


def commit(store: ShardStore, shard: str, *tickers: str) -> str:
    frame = windows(*tickers).join(pl.DataFrame({"step": [1, 2]}), how="cross")
    frame = frame.with_columns(shard=pl.lit(shard), score=pl.col("step") * 0.5)
    return store.commit(shard, encode_shards(frame, store.fingerprint))


def held(store: ShardStore) -> set[str]:
    frame = store.read().frame
    return set() if frame is None else set(frame["ticker"])


@pytest.fixture
def cache(tmp_path):
    return ScoreCache(tmp_path / "cache", 10**9)


@pytest.fixture
def first(tmp_path, cache):
    """A run that scored A, B in one shard and C in another, and shared them."""
    store = ShardStore(tmp_path / "first", MARK)
    commit(store, "one", "A", "B")
    commit(store, "two", "C")
    cache.add(store)
    return store


def test_another_run_gets_the_shards_it_lacks_and_no_others(tmp_path, cache, first):
    second = ShardStore(tmp_path / "second", MARK)
    assert len(cache.fetch(windows("A", "D"), second)) == 1
    assert held(second) == {"A", "B"}
    assert cache.fetch(windows("D"), second) == set()
    assert (
        second.read()
        .frame.sort("ticker", "step")
        .equals(first.read().frame.filter(shard="one").sort("ticker", "step"))
    )


def test_another_fingerprint_gets_nothing(tmp_path, cache, first):
    other = ShardStore(tmp_path / "other", "b" * 64)
    assert cache.fetch(windows("A"), other) == set()


def test_a_window_of_other_bars_is_not_reused(tmp_path, cache, first):
    second = ShardStore(tmp_path / "second", MARK)
    altered = windows("A").with_columns(hash=pl.lit("of other bars"))
    assert cache.fetch(altered, second) == set()


def test_a_damaged_file_is_thrown_away_not_shared(tmp_path, cache, first):
    for path in (cache.root / MARK).glob("*-one-*.parquet"):
        content = path.read_bytes()
        path.unlink()  # the run folder's file has the same inode
        path.write_bytes(content[:-1])
    second = ShardStore(tmp_path / "second", MARK)
    assert cache.fetch(windows("A", "C"), second) == {commit(first, "two", "C")}
    assert held(second) == {"C"}
    assert held(first) == {"A", "B", "C"}


def test_it_is_described_and_pruned_by_age_and_size(tmp_path, cache, first):
    late = ShardStore(tmp_path / "late", "b" * 64)
    commit(late, "one", "A")
    commit(late, "two", "B")
    cache.add(late)
    month_ago = time.time() - 30 * 86_400
    os.utime(cache.root / MARK, (month_ago, month_ago))

    newest, oldest = describe_cache(cache.root)
    assert (newest.fingerprint, newest.files) == (late.fingerprint, 2)
    assert (oldest.fingerprint, oldest.files) == (MARK, 2)
    files = (cache.root / late.fingerprint).iterdir()
    assert newest.bytes == sum(path.stat().st_size for path in files)

    assert prune_cache(cache.root, older_than_days=7) == (2, oldest.bytes)
    assert [entry.fingerprint for entry in describe_cache(cache.root)] == [late.fingerprint]
    assert prune_cache(cache.root, max_bytes=newest.bytes - 1)[0] == 1
    assert prune_cache(cache.root, max_bytes=0)[0] == 1
    assert describe_cache(cache.root) == []
    assert held(late) == {"A", "B"}


def test_adding_keeps_to_the_limit(tmp_path, first):
    small = ScoreCache(tmp_path / "small", 1)
    small.add(first)
    assert describe_cache(small.root) == []


def test_the_longest_unused_goes_first(tmp_path, cache, first):
    late = ShardStore(tmp_path / "late", "b" * 64)
    commit(late, "one", "A")
    cache.add(late)
    hour_ago = time.time() - 3600
    for mark in (MARK, late.fingerprint):
        os.utime(cache.root / mark, (hour_ago, hour_ago - (mark != MARK)))
    cache.fetch(windows("A"), ShardStore(tmp_path / "second", late.fingerprint))
    size = next(e.bytes for e in describe_cache(cache.root) if e.fingerprint == MARK)
    prune_cache(cache.root, max_bytes=size)
    assert describe_cache(cache.root)[0].fingerprint == late.fingerprint


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path, first, caplog):
    (tmp_path / "file").write_text("in the way")
    broken = ScoreCache(tmp_path / "file", 10**9)
    broken.add(first)
    assert "not kept in the score cache" in caplog.text
    assert broken.fetch(windows("A"), ShardStore(tmp_path / "second", MARK)) == set()


def test_it_lies_in_the_xdg_folder_unless_configured_or_off(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder(None) == tmp_path / "kronos-engine" / "scores"
    assert cache_folder("/somewhere/else").as_posix() == "/somewhere/else"
    assert cache_folder("off") is None
    assert open_cache("off", 10) is None
    assert open_cache(None, 0) is None
    assert describe_cache(cache_folder(None)) == []
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder(None).parts[-3:] == (".cache", "kronos-engine", "scores")

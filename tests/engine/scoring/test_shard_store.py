"""Shards on disk: whole, checked, and never of another fingerprint."""

from __future__ import annotations

import subprocess
from datetime import date

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.scoring.shard_store import KEY, ShardStore, encode_shards

MARK = "a" * 64


@pytest.fixture
def store(tmp_path):
    return ShardStore(tmp_path / "shards", MARK)


def rows(ticker: str, score: float = 0.5, shard: str = "one") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "asof": [date(2020, 1, 31)] * 200,
            "ticker": [ticker] * 200,
            "hash": ["h"] * 200,
            "shard": [shard] * 200,
            "step": range(200),
            "score": [score + k for k in range(200)],
        }
    )


def commit(store, ticker: str, shard: str):
    return store.folder.path / store.commit(shard, encode_shards(rows(ticker, shard=shard), MARK))


def fill(store) -> None:
    for number in range(100):
        commit(store, f"T{number}", f"s{number}")


def tickers(store) -> tuple[list[str], int]:
    found = store.read()
    return ([] if found.frame is None else found.frame["ticker"].unique().to_list()), found.damaged


def test_what_is_committed_is_read_back(store):
    commit(store, "A", "one")
    commit(store, "B", "two")
    found = store.read()
    assert found.damaged == 0
    wanted = pl.concat([rows("A", shard="one"), rows("B", shard="two")])
    assert found.frame.sort("ticker", "step").equals(wanted)
    assert found.names == store.names()


def test_only_the_steps_and_columns_asked_for_are_read(store):
    commit(store, "A", "one")
    found = store.read(columns=["score"], steps=[3, 5]).frame
    assert found["step"].to_list() == [3, 5]
    assert set(found.columns) == {*KEY, "shard", "score"}


def test_nothing_committed_reads_as_none(store):
    assert store.read().frame is None
    assert store.windows() is None


def test_a_second_commit_changes_nothing(store):
    before = commit(store, "A", "one").read_bytes()
    assert commit(store, "A", "one").read_bytes() == before
    assert len(store.names()) == 1


def test_a_window_in_two_shards_counts_once(store):
    commit(store, "A", "one")
    commit(store, "A", "two")
    assert store.read().frame.height == 200
    assert store.windows().height == 2


@pytest.mark.parametrize("kept", [0, 1, 20, 500, -1])
def test_a_truncated_file_is_thrown_away(store, kept):
    path = commit(store, "A", "one")
    commit(store, "B", "two")
    path.write_bytes(path.read_bytes()[:kept])
    assert tickers(store) == (["B"], 1)
    assert not path.exists()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_a_flipped_bit_never_becomes_a_score(store, place, mask):
    path = commit(store, "A", "one")
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= mask
    path.write_bytes(bytes(content))
    assert tickers(store) == ([], 1)


def test_other_fingerprints_in_the_folder_are_not_read(store, tmp_path):
    path = commit(store, "A", "one")
    assert tickers(ShardStore(tmp_path / "shards", "b" * 64)) == ([], 0)
    assert path.exists()


def test_a_file_renamed_to_this_fingerprint_or_to_another_shard_is_refused(store, tmp_path):
    foreign = commit(ShardStore(tmp_path / "shards", "b" * 64), "A", "one")
    foreign.rename(foreign.with_name(foreign.name.replace("b" * 16, "a" * 16)))
    own = commit(store, "B", "two")
    own.rename(own.with_name(own.name.replace("two", "six")))
    assert tickers(store) == ([], 2)


def test_leftovers_of_a_killed_writer_are_ignored_and_then_removed(store):
    path = commit(store, "A", "one")
    beside = path.with_name(f".{path.name}.xyz.part")
    beside.write_bytes(b"half")
    assert tickers(store) == (["A"], 0)
    store.prepare()
    assert not beside.exists()
    assert tickers(store) == (["A"], 0)


def test_a_place_that_cannot_be_written_is_said_before_the_work(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"file/shards cannot be written: Not a directory"):
        ShardStore(tmp_path / "file" / "shards", MARK).prepare()


@pytest.mark.parametrize("option", ["size=64k", "ro"])
def test_a_full_or_read_only_disk_is_one_clear_error_and_keeps_what_it_has(tmp_path, option):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", option, "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("this user may not mount a small disk")
    try:
        store = ShardStore(disk, MARK)
        reason = "Read-only file system" if option == "ro" else "No space left on device"
        with pytest.raises(OSError, match=f"disk cannot be written: {reason}"):
            fill(store)
        whole = len(store.names())
        assert (option == "ro") == (whole == 0)
        assert len(tickers(store)[0]) == whole
        assert [path.name for path in disk.iterdir() if path.name not in store.names()] == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)

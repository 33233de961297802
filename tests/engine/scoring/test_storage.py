"""Folders of shards: a local one and an object store behave alike."""

from __future__ import annotations

import pytest
from s3_stand_in import object_store

from engine.scoring.shard_store import ShardStore
from engine.scoring.storage import LocalFolder, ObjectFolder, open_folder


@pytest.fixture(scope="module")
def server():
    with object_store() as server:
        yield server


@pytest.fixture(params=["local", "file uri", "s3"])
def folder(request, tmp_path, server):
    if request.param == "s3":
        server.objects.clear()
        return open_folder(server.uri("bucket/runs/shards"))
    path = tmp_path / "shards"
    return open_folder(path if request.param == "local" else path.as_uri())


def test_what_is_written_is_listed_and_read_until_deleted(folder):
    assert folder.names("") == []
    folder.write("a-1.parquet", b"one")
    folder.write("a-2.parquet", b"x" * 7_000_000)
    folder.write("b-1.parquet", b"")
    assert folder.names("a-") == ["a-1.parquet", "a-2.parquet"]
    assert folder.read("a-1.parquet") == b"one"
    assert folder.read("a-2.parquet") == b"x" * 7_000_000
    assert folder.read("b-1.parquet") == b""
    folder.write("a-1.parquet", b"other")
    assert folder.read("a-1.parquet") == b"other"
    folder.delete("a-1.parquet")
    folder.delete("a-1.parquet")
    assert folder.names("a-") == ["a-2.parquet"]
    with pytest.raises(FileNotFoundError):
        folder.read("a-1.parquet")


def test_the_kind_is_read_from_the_location(tmp_path, server):
    assert isinstance(open_folder(str(tmp_path)), LocalFolder)
    store = open_folder(server.uri("bucket/shards"))
    assert isinstance(store, ObjectFolder)
    assert str(store) == "s3://bucket/shards"  # no password, no query


def test_an_object_store_that_refuses_is_one_clear_error(server):
    store = ShardStore(server.uri("bucket/closed"), "a" * 64)
    server.refuse = True
    try:
        with pytest.raises(OSError, match=r"s3://bucket/closed cannot be written: .*ACCESS_DENIED"):
            store.prepare()
    finally:
        server.refuse = False
    store.prepare()


@pytest.mark.parametrize("location", ["nowhere://bucket/shards", "s3://bucket/x?oddity=1"])
def test_a_location_nobody_knows_is_one_clear_error(location):
    with pytest.raises(OSError, match="cannot be opened"):
        open_folder(location)

"""Tests share no cache with the user of this machine, nor scores with each other.

Files with long tests come first: of two processes none waits for the other's long file at the end.
Slow tests (`make test-slow`) begin with the file whose turn it is, and no more of them begin after
TESTS_UNTIL: a machine that cannot run all of them in time runs others for every commit.
"""

from __future__ import annotations

import os
import time

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("ENGINE_SCORING__CACHE", "off")
        yield


def pytest_collection_modifyitems(items):
    long = {item.path for item in items if item.get_closest_marker("long")}
    slow = sorted({item.path for item in items if item.get_closest_marker("slow")})
    turn = int(os.environ.get("TESTS_TURN") or "0", 16)  # a commit's hash
    place = {path: (n - turn) % len(slow) for n, path in enumerate(slow)} if turn else {}
    items.sort(key=lambda item: (place.get(item.path, 0), item.path not in long))


def pytest_runtest_setup(item):
    until = os.environ.get("TESTS_UNTIL")  # seconds since 1970
    if until and item.get_closest_marker("slow") and time.time() > float(until):
        pytest.skip("no time left; its turn comes with another commit")

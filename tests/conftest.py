"""Tests share no cache with the user of this machine, nor scores with each other.

Files with slow tests come first: of two processes none waits for the other's slow file at the end.
"""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("ENGINE_SCORING__CACHE", "off")
        yield


def pytest_collection_modifyitems(items):
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)

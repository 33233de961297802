"""Tests share no cache with the user of this machine, nor scores with each other."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("ENGINE_SCORING__CACHE", "off")
        yield

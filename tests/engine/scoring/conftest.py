"""One Ray for all scoring tests that need no cluster of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from engine.scoring.cluster import ray_cluster


class SharedRay:
    """Two cores of Ray in this process."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def start(self) -> None:
        # Not before ray_cluster: Ray reads its authentication when it is imported.
        ray = sys.modules.get("ray")
        if ray is None or not ray.is_initialized():
            self._stack.enter_context(ray_cluster(None, cpus=2, object_bytes=0))

    def stop(self) -> None:
        self._stack.close()


@pytest.fixture(scope="package")
def shared_ray() -> Iterator[SharedRay]:
    shared = SharedRay()
    yield shared
    shared.stop()


@pytest.fixture
def ray(shared_ray: SharedRay) -> None:
    """Started by the first test that asks, and again after `no_ray`."""
    shared_ray.start()


@pytest.fixture
def no_ray(shared_ray: SharedRay) -> None:
    """For a test that starts a cluster of its own."""
    shared_ray.stop()

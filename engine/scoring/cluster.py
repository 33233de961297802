"""Joining or starting Ray, with the settings that keep it quiet and local."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ray_cluster"]

OBJECT_STORE_BYTES = 256 * 1024 * 1024


@contextmanager
def ray_cluster(address: str | None, *, cpus: int, object_bytes: int) -> Iterator[None]:
    """Ray for the time of a `with` block.

    Without an address a cluster of this process's own is started (never a left-over one joined)
    and ended with the block; with one, that cluster is joined and left running.
    `object_bytes` is what will be put into the object store. A driver that Ray itself started
    (`ray job submit`) finds its cluster in RAY_ADDRESS.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address is None:
        # Loopback only: a token would have to be made and shared with nobody.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    import ray

    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES + 2 * object_bytes,
            **quiet,
        )
    else:
        ray.init(address=address, **quiet)
    try:
        yield
    finally:
        ray.shutdown()

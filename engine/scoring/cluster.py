"""Joining or starting Ray, with the settings that keep it quiet and local."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["cluster_slots", "is_private", "ray_cluster", "shut_out_others"]

log = logging.getLogger(__name__)
START_ATTEMPTS = 3
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
    loaded = sys.modules.get("ray")
    if loaded is not None and loaded.is_initialized():
        yield
        return
    if address is None:
        shut_out_others()
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is not None:
        ray.init(address=address, **quiet)
        try:
            yield
        finally:
            ray.shutdown()
        return
    # Sockets, logs and the session's files lie below a folder that only this user can enter; the
    # folder that Ray is told it opens to everybody.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as place:
        quiet["_temp_dir"] = f"{place}/r"
        _start_private(cpus, OBJECT_STORE_BYTES + 2 * object_bytes, quiet)
        try:
            yield
        finally:
            ray.shutdown()


def shut_out_others() -> None:
    """A token that only this process and its children know.

    Ray's services listen on every interface, and whoever reaches them without one runs code as
    this user. Ray reads the mode when it is imported, so it can't be changed after that.
    """
    if "ray" in sys.modules and os.environ.get("RAY_AUTH_MODE") != "token":
        log.warning(
            "ray was imported before this cluster was started, without RAY_AUTH_MODE=token: "
            "whoever reaches this machine can run code in it; set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN before importing ray"
        )
        return
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _start_private(cpus: int, store_bytes: int, quiet: dict[str, Any]) -> None:
    """A busy machine may need longer than the 30 s that Ray gives its processes to start."""
    import ray

    for attempt in range(START_ATTEMPTS):
        try:
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=store_bytes,
                **quiet,
            )
        except Exception as error:
            ray.shutdown()
            if "timed out during startup" not in str(error) or attempt + 1 == START_ATTEMPTS:
                raise
            log.warning("Ray did not start in time; it is started again")
        else:
            return


def is_private(address: str | None) -> bool:
    """Whether `ray_cluster` would start a cluster of this process's own."""
    if address or os.environ.get("RAY_ADDRESS"):
        return False
    ray = sys.modules.get("ray")
    return ray is None or not ray.is_initialized()


def cluster_slots(cpus: int, gpus: float) -> int:
    """Actors with this many cores and GPUs for which the nodes now alive have room.

    What other jobs hold is not taken off: their actors end, ours wait in line.
    """
    import ray

    return sum(_node_slots(node["Resources"], cpus, gpus) for node in ray.nodes() if node["Alive"])


def _node_slots(resources: Mapping[str, float], cpus: int, gpus: float) -> int:
    by_cpu = int(resources.get("CPU", 0) // cpus)
    if not gpus:
        return by_cpu
    devices = int(resources.get("GPU", 0))
    # Shares of a GPU do not add up across devices: 0.4 fits twice into each.
    by_gpu = devices * int(1 / gpus + 1e-9) if gpus <= 1 else int(devices // gpus)
    return min(by_cpu, by_gpu)

"""Nobody but the run itself gets work done on a cluster that a run has started."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ATTACK = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
print("ran", ray.get(ray.remote(lambda: 7).remote()))
"""


@pytest.fixture(scope="module")
def address(shared_ray) -> str:
    """Of the control service, as another machine would reach it."""
    shared_ray.start()
    import ray

    return ray.get_runtime_context().gcs_address


def attack(address: str, **environment: str) -> subprocess.CompletedProcess[str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-c", ATTACK, address],
        env=ours | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_task_of_a_process_that_knows_the_token_runs(address):
    token = {name: os.environ[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    assert token["RAY_AUTH_MODE"] == "token"
    assert attack(address, **token).stdout == "ran 7\n"


@pytest.mark.long
@pytest.mark.parametrize(
    "environment",
    [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}],
    ids=["no token", "another token"],
)
def test_a_stranger_is_refused(address, environment):
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=5):
        pass  # it is reachable: what refuses is the token
    done = attack(address, **environment)
    assert done.returncode != 0
    assert "ran" not in done.stdout


def test_the_files_of_the_session_are_the_owners_alone(address):
    import ray

    session = Path(ray._private.worker._global_node.get_session_dir_path())
    above = [folder for folder in session.parents if folder.name.startswith("ray-")]
    assert stat.S_IMODE(above[0].stat().st_mode) == 0o700
    assert above[0].stat().st_uid == os.getuid()

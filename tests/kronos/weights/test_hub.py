"""The Hub, against a stand-in server on this machine.

The client reads its settings when it is imported, so every case runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kronos_golden import DATA
from kronos_hub import StandInHub, serve_hub

from kronos.weights.hub import reachable

COMMIT = "901c26c1332695a2a8f243eb2f37243a37bea320"
REPOS = {
    "NeoQuasar/Kronos-small": DATA / "learned" / "model",
    "NeoQuasar/Kronos-Tokenizer-base": DATA / "learned" / "tokenizer",
}


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with serve_hub(StandInHub(REPOS, {"main": COMMIT, COMMIT: COMMIT})) as served:
        yield served


PROGRAM = """
import json, sys, time
from kronos import CheckpointError, checkpoint_info, load_predictor
for name, revision in json.loads(sys.argv[1]):
    started = time.perf_counter()
    try:
        info = checkpoint_info(name, revision=revision)
        answer = {"folder": str(info.model_folder), "tokenizer": str(info.tokenizer_folder),
                  "context": info.max_context, "until": str(info.trained_until),
                  "device": str(load_predictor(name, revision=revision, device="cpu").device)}
    except CheckpointError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer | {"seconds": time.perf_counter() - started}))
"""
SMALL, MINI = "NeoQuasar/Kronos-small", "NeoQuasar/Kronos-mini"
CLOSED = "http://127.0.0.1:9"


def ask(cache: Path, *names: tuple[str, str | None], **environment: str) -> list[dict]:
    """One answer a (name, revision), all in one process with these settings."""
    kept = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    settings = {"HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(names)],
        env=kept | settings | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_download_cache_and_pins(hub: StandInHub, tmp_path: Path) -> None:
    endpoint, requests = hub.endpoint, hub.requests
    pinned, latest, cached, no_revision, unknown = ask(
        tmp_path,
        (SMALL, COMMIT),
        (SMALL, None),
        (SMALL, None),
        (SMALL, "0" * 40),
        (MINI, None),
        HF_ENDPOINT=endpoint,
    )
    for answer in (pinned, latest, cached):
        assert answer == answer | {"context": 512, "until": "2024-05-31", "device": "cpu"}
        assert answer["folder"] == pinned["folder"]
        assert "Kronos-Tokenizer-base" in answer["tokenizer"]
    first = next(request for request in requests if "Kronos-small/" in request)
    assert f"/resolve/{COMMIT}/" in first
    assert f"{SMALL}@0000" in no_revision["error"]
    assert unknown["error"].startswith(f"{MINI} cannot be fetched from {endpoint}")
    assert "\n" not in no_revision["error"] + unknown["error"]

    seen = len(requests)
    offline, missing = ask(
        tmp_path, (SMALL, None), (MINI, None), HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="1"
    )
    assert offline["folder"] == pinned["folder"]
    assert "offline mode is on" in missing["error"]
    assert len(requests) == seen


def test_without_network_it_says_how_to_get_it(tmp_path: Path) -> None:
    (answer,) = ask(tmp_path, (SMALL, None), HF_ENDPOINT=CLOSED)
    assert answer["seconds"] < 2
    assert (
        f"{SMALL} is neither a folder nor in the local Hub cache, and {CLOSED} cannot"
        in answer["error"]
    )
    assert f"hf download {SMALL} --local-dir FOLDER" in answer["error"]
    assert "\n" not in answer["error"]


def test_reachable(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert reachable(hub.endpoint)  # "not found" is an answer
    started = time.perf_counter()
    assert not reachable(CLOSED)
    assert not reachable("http://hub.invalid")
    assert not reachable("nonsense")
    monkeypatch.setenv("http_proxy", CLOSED)
    assert not reachable("http://hub.invalid")
    assert time.perf_counter() - started < 3

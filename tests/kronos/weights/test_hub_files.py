"""Fetching from a Hub, against a stand-in server on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from kronos_golden import DATA
from kronos_hub import StandInHub, serve_hub

from kronos import CheckpointError, Kronos, checkpoint_info, load_predictor

COMMIT, OLDER = "a" * 40, "b" * 40
MINI, TOKENIZER = "NeoQuasar/Kronos-mini", "NeoQuasar/Kronos-Tokenizer-2k"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    folders = {MINI: DATA / "learned" / "model", TOKENIZER: DATA / "learned" / "tokenizer"}
    revisions = {"main": COMMIT, COMMIT: COMMIT, "v1": OLDER, OLDER: OLDER}
    with serve_hub(StandInHub(folders, revisions)) as served:
        template = served.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", served.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield served


def test_a_published_name_brings_its_tokenizer_and_context(
    hub: StandInHub, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TQDM_POSITION", "-1")  # a bar although stderr is no terminal
    predictor = load_predictor(MINI, device="cpu")
    assert predictor.max_context == 2048
    assert "model.safetensors" in capfd.readouterr().err  # the progress bar
    assert any(TOKENIZER in request for request in hub.requests)
    hub.requests.clear()
    load_predictor(MINI, device="cpu")
    assert not hub.requests  # from the cache


def test_revisions_are_pinned(hub: StandInHub) -> None:
    info = checkpoint_info(MINI, revision="v1", tokenizer_revision=COMMIT)
    assert info.model_folder.name == OLDER
    assert info.tokenizer_folder.name == COMMIT
    assert not any("/resolve/main/" in request for request in hub.requests)
    with pytest.raises(CheckpointError, match=rf"{MINI}@nothere cannot be fetched"):
        checkpoint_info(MINI, revision="nothere")


@pytest.mark.parametrize(
    ("fault", "rule"), [("truncate", "cannot be fetched"), ("corrupt", "was announced")]
)
def test_a_bad_file_is_refused_and_not_kept(
    hub: StandInHub, monkeypatch: pytest.MonkeyPatch, fault: str, rule: str
) -> None:
    # The client would wait and retry a broken connection five times.
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    setattr(hub, fault, True)
    with pytest.raises(CheckpointError, match=rule):
        Kronos.from_pretrained(MINI)
    setattr(hub, fault, False)
    assert Kronos.from_pretrained(MINI).n_layers > 0


def test_offline_takes_the_cache_only(hub: StandInHub) -> None:
    with pytest.raises(CheckpointError, match="offline mode"):
        Kronos.from_pretrained(MINI, local_files_only=True)
    Kronos.from_pretrained(MINI)
    assert Kronos.from_pretrained(MINI, local_files_only=True).n_layers > 0

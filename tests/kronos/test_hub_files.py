"""Fetching from a Hub: a local server that speaks as much of its protocol as the client uses."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants
from kronos_golden import DATA

from kronos import CheckpointError, Kronos, checkpoint_info, load_predictor

COMMIT, OLDER = "a" * 40, "b" * 40
MINI, TOKENIZER = "NeoQuasar/Kronos-mini", "NeoQuasar/Kronos-Tokenizer-2k"


@dataclass
class StandIn:
    """Repositories by name, and how the server misbehaves."""

    folders: dict[str, Path]
    truncate: bool = False
    corrupt: bool = False
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    state = StandIn({MINI: DATA / "learned" / "model", TOKENIZER: DATA / "learned" / "tokenizer"})

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            state.requests.append(f"{self.command} {self.path}")
            repo, _, rest = self.path.strip("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            path = state.folders.get(repo, Path("/nowhere")) / name
            known = {"main": COMMIT, COMMIT: COMMIT, "v1": OLDER, OLDER: OLDER}
            if revision not in known or not path.is_file():
                self.send_response(404)
                self.send_header(
                    "X-Error-Code",
                    "RevisionNotFound" if revision not in known else "EntryNotFound",
                )
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = path.read_bytes()
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", known[revision])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body and name.endswith("safetensors"):
                if state.truncate:
                    content = content[: len(content) // 2]
                if state.corrupt:
                    content = content[:-1] + bytes([content[-1] ^ 1])
            if body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield state
    server.shutdown()


def test_a_published_name_brings_its_tokenizer_and_context(
    hub: StandIn, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TQDM_POSITION", "-1")  # a bar although stderr is no terminal
    predictor = load_predictor(MINI, device="cpu")
    assert predictor.max_context == 2048
    assert "model.safetensors" in capfd.readouterr().err  # the progress bar
    assert any(TOKENIZER in request for request in hub.requests)
    hub.requests.clear()
    load_predictor(MINI, device="cpu")
    assert not hub.requests  # from the cache


def test_revisions_are_pinned(hub: StandIn) -> None:
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
    hub: StandIn, monkeypatch: pytest.MonkeyPatch, fault: str, rule: str
) -> None:
    # The client would wait and retry a broken connection five times.
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    setattr(hub, fault, True)
    with pytest.raises(CheckpointError, match=rule):
        Kronos.from_pretrained(MINI)
    setattr(hub, fault, False)
    assert Kronos.from_pretrained(MINI).n_layers > 0


def test_offline_takes_the_cache_only(hub: StandIn) -> None:
    with pytest.raises(CheckpointError, match="offline mode"):
        Kronos.from_pretrained(MINI, local_files_only=True)
    Kronos.from_pretrained(MINI)
    assert Kronos.from_pretrained(MINI, local_files_only=True).n_layers > 0

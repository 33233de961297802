"""A server that speaks as much of the Hub's protocol as its client uses."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

__all__ = ["StandInHub", "serve_hub"]


@dataclass
class StandInHub:
    """Repositories and revisions by name, and how the server misbehaves.

    folders : repository → the folder of its files
    revisions : branch, tag or commit → commit
    """

    folders: dict[str, Path]
    revisions: dict[str, str]
    truncate: bool = False
    corrupt: bool = False
    requests: list[str] = field(default_factory=list)
    endpoint: str = ""

    def sent(self, name: str, content: bytes) -> bytes:
        if not name.endswith("safetensors"):
            return content
        if self.truncate:
            content = content[: len(content) // 2]
        return content[:-1] + bytes([content[-1] ^ 1]) if self.corrupt else content


@contextmanager
def serve_hub(hub: StandInHub) -> Iterator[StandInHub]:
    """Answer the ``resolve`` route at ``hub.endpoint``; anything else is not found."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            repo, _, rest = self.path.strip("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            path = hub.folders.get(repo, Path("/nowhere")) / name
            if repo not in hub.folders:
                self.refuse("RepoNotFound")
            elif revision not in hub.revisions:
                self.refuse("RevisionNotFound")
            elif not path.is_file():
                self.refuse("EntryNotFound")
            else:
                content = path.read_bytes()
                self.send_response(200)
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", hub.revisions[revision])
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if body:
                    self.wfile.write(hub.sent(name, content))

        def refuse(self, code: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    yield hub
    server.shutdown()
    server.server_close()

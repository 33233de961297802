"""An object store on loopback: the part of the S3 protocol that pyarrow speaks."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

__all__ = ["ObjectStore", "object_store"]


class ObjectStore(ThreadingHTTPServer):
    """Keeps objects in `objects` ("bucket/key" → bytes); `refuse` makes every upload fail."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.numbers = itertools.count()  # never one twice: uploads run side by side
        self.requests: list[str] = []
        self.refuse = False

    def uri(self, path: str) -> str:
        """An s3:// address of this server that pyarrow understands."""
        query = f"endpoint_override=127.0.0.1:{self.server_port}&scheme=http&region=us-east-1"
        return f"s3://key:secret@{path}?{query}"


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    server = ObjectStore()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ObjectStore

    def log_message(self, *args) -> None:
        self.server.requests.append(f"{self.command} {self.path}")

    def _target(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        return unquote(parts.path).strip("/"), {name: found[0] for name, found in query.items()}

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", headers.pop("length", str(len(body))))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _missing(self, code: str = "NoSuchKey") -> None:
        self._answer(404, f"<Error><Code>{code}</Code></Error>".encode())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            raw = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" not in (self.headers.get("Content-Encoding") or ""):
            return raw
        content = b""
        while raw:  # chunks with their own lengths, then trailing checksums
            head, _, raw = raw.partition(b"\r\n")
            size = int(head.split(b";")[0], 16)
            if not size:
                break
            content, raw = content + raw[:size], raw[size + 2 :]
        return content

    def do_PUT(self) -> None:
        key, query = self._target()
        content = self._body()
        if self.server.refuse:
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
            return
        if "uploadId" in query:
            self.server.uploads[query["uploadId"]][int(query["partNumber"])] = content
        else:
            self.server.objects[key] = content
        self._answer(200, ETag='"tag"')

    def do_POST(self) -> None:
        key, query = self._target()
        body = self._body()
        if self.server.refuse:
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif "uploads" in query:
            number = f"upload-{next(self.server.numbers)}"
            self.server.uploads[number] = {}
            self._xml("InitiateMultipartUploadResult", f"<UploadId>{number}</UploadId>")
        elif "uploadId" in query:
            parts = self.server.uploads.pop(query["uploadId"])
            self.server.objects[key] = b"".join(parts[n] for n in sorted(parts))
            self._xml("CompleteMultipartUploadResult", '<ETag>"tag"</ETag>')
        elif "delete" in query:
            bucket = key.split("/")[0]
            for name in re.findall(r"<Key>(.*?)</Key>", body.decode()):
                self.server.objects.pop(f"{bucket}/{name}", None)
            self._xml("DeleteResult", "")

    def do_DELETE(self) -> None:
        key, query = self._target()
        if "uploadId" in query:
            self.server.uploads.pop(query["uploadId"], None)
        self.server.objects.pop(key, None)
        self._answer(204)

    def do_HEAD(self) -> None:
        key, _ = self._target()
        found = self.server.objects.get(key)
        if "/" not in key:
            self._answer(200)
        elif found is None:
            self._missing()
        else:
            stamp = "Wed, 01 Jan 2020 00:00:00 GMT"
            self._answer(200, length=str(len(found)), ETag='"tag"', Last_Modified=stamp)

    def do_GET(self) -> None:
        key, query = self._target()
        if "/" not in key:
            self._list(key, query)
            return
        found = self.server.objects.get(key)
        if found is None:
            self._missing()
            return
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if span is None:
            self._answer(200, found, ETag='"tag"')
            return
        first, last = int(span[1]), min(int(span[2]), len(found) - 1)
        where = f"bytes {first}-{last}/{len(found)}"
        self._answer(206, found[first : last + 1], ETag='"tag"', Content_Range=where)

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        prefix = query.get("prefix", "")
        there = dict(self.server.objects)  # others may be added meanwhile
        keys = sorted(k.removeprefix(bucket + "/") for k in there)
        found = [k for k in keys if k.startswith(prefix)]
        rows = "".join(
            f"<Contents><Key>{escape(k)}</Key><Size>{len(there[f'{bucket}/{k}'])}"
            "</Size><LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents>"
            for k in found
        )
        self._xml("ListBucketResult", f"<IsTruncated>false</IsTruncated>{rows}")

    def _xml(self, root: str, body: str) -> None:
        text = f'<?xml version="1.0"?><{root}>{body}</{root}>'
        self._answer(200, text.encode(), Content_Type="application/xml")

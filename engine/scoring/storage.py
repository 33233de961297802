"""Where finished shards lie: a folder of this machine or a shared one, or an object store."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Protocol

from engine.files import write_bytes

__all__ = ["Folder", "LocalFolder", "ObjectFolder", "open_folder"]


class Folder(Protocol):
    """A flat set of named files, each of which appears whole or not at all.

    Every method raises OSError, whose message names the folder.
    """

    threads: int  # calls that are worth making at once

    def names(self, prefix: str) -> list[str]:
        """Sorted names of the files whose name starts with `prefix`; none if there is no folder."""
        ...

    def read(self, name: str) -> bytes:
        """A file's content. Raises FileNotFoundError."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place, flushed to disk."""
        ...

    def delete(self, name: str) -> None:
        """Remove a file if it is there."""
        ...


class LocalFolder:
    """A folder of a file system, local or shared by several machines."""

    threads = 4

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def names(self, prefix: str) -> list[str]:
        try:
            with os.scandir(self.path) as found:
                return sorted(entry.name for entry in found if entry.name.startswith(prefix))
        except FileNotFoundError:
            return []

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        try:
            write_bytes(self.path / name, content)
        except OSError as error:
            raise _failure(f"{self.path} cannot be written", error) from error

    def delete(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what writers that were killed left beside their files."""
        for part in self.path.glob(".*.part"):
            part.unlink(missing_ok=True)


class ObjectFolder:
    """A prefix of an object store or another file system that pyarrow reaches by URI.

    An object is visible once its upload is complete, so a write needs no rename.
    """

    threads = 16

    def __init__(self, uri: str) -> None:
        from pyarrow import fs

        # What is shown in messages: without the query, and without a password.
        self._uri = re.sub(r"//[^/@]*@", "//", uri.split("?")[0])
        self._kinds = fs
        try:
            self._system, self._root = fs.FileSystem.from_uri(uri)
        except (OSError, ValueError) as error:
            raise _failure(f"{self._uri} cannot be opened", error) from None

    def __str__(self) -> str:
        return self._uri

    def names(self, prefix: str) -> list[str]:
        selector = self._kinds.FileSelector(self._root, allow_not_found=True)
        try:
            found = self._system.get_file_info(selector)
        except OSError as error:
            raise _failure(f"{self._uri} cannot be listed", error) from error
        return sorted(info.base_name for info in found if self._is_ours(info, prefix))

    def read(self, name: str) -> bytes:
        try:
            with self._system.open_input_file(self._path(name)) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _failure(f"{self._uri} cannot be read", error) from error

    def write(self, name: str, content: bytes) -> None:
        try:
            with self._system.open_output_stream(self._path(name)) as stream:
                stream.write(content)
        except OSError as error:
            raise _failure(f"{self._uri} cannot be written", error) from error

    def delete(self, name: str) -> None:
        try:
            self._system.delete_file(self._path(name))
        except FileNotFoundError:
            return
        except OSError as error:
            raise _failure(f"{self._uri} cannot be written", error) from error

    def _is_ours(self, info: Any, prefix: str) -> bool:
        return info.type == self._kinds.FileType.File and info.base_name.startswith(prefix)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def open_folder(location: str | Path) -> LocalFolder | ObjectFolder:
    """The folder at a path, or at a URI such as `s3://bucket/prefix?region=eu-west-1`.

    Credentials of an object store come from its usual environment variables; `endpoint_override`
    and `scheme` in the query point an `s3://` at another server. Raises OSError.
    """
    text = str(location)
    if "://" in text and not text.startswith("file://"):
        return ObjectFolder(text)
    return LocalFolder(Path(text.removeprefix("file://")).expanduser())


def _failure(what: str, error: Exception) -> OSError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return OSError(f"{what}: {reason}")

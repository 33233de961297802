"""Files that appear whole or not at all, and files that one process writes at a time."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl

from engine.errors import UsageError

__all__ = [
    "WriteLock",
    "copy_file",
    "private_files",
    "replace_file",
    "write_bytes",
    "write_frame",
    "write_json",
    "write_text",
]


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` on a file beside `path`, flush it to disk, then rename it into place.

    A crash at any moment leaves the old file or the new one, never a part. Raises OSError when
    the disk is full or the folder cannot be written; nothing is left behind then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL, 0o644))
        write(beside)
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # which file, it does not say
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        beside.unlink(missing_ok=True)


def copy_file(source: Path, path: Path) -> None:
    """The bytes of `source`."""
    replace_file(path, lambda part: shutil.copyfile(source, part))


def write_bytes(path: Path, content: bytes) -> None:
    """Bytes as they are."""
    replace_file(path, lambda part: part.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    """UTF-8 text."""
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Indented JSON; NaN and infinity are refused, for readers of strict JSON."""
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False, default=str)
    write_text(path, text + "\n")


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Parquet."""
    replace_file(path, frame.write_parquet)


@contextmanager
def private_files() -> Iterator[None]:
    """Files and folders that appear meanwhile are for their owner alone (mode 600 and 700)."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


class WriteLock:
    """Held from entering to leaving; the system frees it when the process dies, however it dies.

    Raises
    ------
    UsageError
        Another process holds it; the message names that process.
    """

    def __init__(self, path: Path) -> None:
        self._what = path
        self._path = path.with_name(f"{path.name}.lock")
        self._file: int | None = None

    def __enter__(self) -> WriteLock:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(file, 500).decode(errors="replace").strip() or "another process"
            os.close(file)
            raise UsageError(
                f"{self._what} is being written by {holder}; one process writes a store at a "
                "time: wait until it ends"
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, _holder().encode(), 0)
        self._file = file
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            # The file stays: removing it would let two processes lock two files of one name.
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None


def _holder() -> str:
    command = shlex.join(sys.argv)[:200]
    return f"process {os.getpid()} ({command}) since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"

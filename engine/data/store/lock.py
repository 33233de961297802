"""One writing process a store."""

from __future__ import annotations

import fcntl
import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from engine.errors import UsageError

__all__ = ["WriteLock"]


class WriteLock:
    """Held from entering to leaving; the system frees it when the process dies, however it dies.

    Raises
    ------
    UsageError
        Another process holds it; the message names that process.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._path = store.with_name(f"{store.name}.lock")
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
                f"{self._store} is being written by {holder}; one process writes a store at a "
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

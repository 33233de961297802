"""A run's folder: who may write in it, and what is written beside the results."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from engine.errors import UsageError
from engine.files import write_json, write_text

__all__ = ["RunFolder", "environment_facts"]

PACKAGES = (
    "torch",
    "ray",
    "polars",
    "numpy",
    "pandas",
    "vectorbt",
    "exchange_calendars",
    "arch",
    "lightgbm",
)


class RunFolder:
    """`<run.dir>/<run.name>/` with its log and its lock."""

    def __init__(self, root: Path, name: str) -> None:
        self.path = root / name
        self.shards = self.path / "shards"
        self.fits = self.path / "baselines"

    @contextmanager
    def open(self) -> Iterator[RunFolder]:
        """Create the folder, keep other processes out, and log into `run.log` meanwhile.

        Raises UsageError if the folder cannot be written or another run is using it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("a+")
        except OSError as error:
            raise UsageError(
                f"run folder {self.path} cannot be written: {error.strerror}"
            ) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(
                    f"run folder {self.path} is in use by another process; "
                    "wait for it or choose another --run.name"
                ) from None
            handler = _JsonLines(self.path / "run.log")
            logger = logging.getLogger("engine")
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
            try:
                yield self
            except Exception:
                logger.exception("failed")
                raise
            finally:
                logger.removeHandler(handler)
                handler.close()

    def write_json(self, name: str, content: Any) -> None:
        """A JSON file of the run, whole or not at all."""
        write_json(self.path / name, content)

    def write_yaml(self, name: str, content: Any) -> None:
        """A YAML file of the run, whole or not at all."""
        write_text(self.path / name, yaml.safe_dump(content, sort_keys=False))


class _JsonLines(logging.FileHandler):
    """One JSON object a line: time, level, module, message, and the record's `fields` if any."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A full disk is told once, by what failed to be written, not by every line of the log."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "module": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


def environment_facts() -> dict[str, Any]:
    """Code version, package versions, processor: what a reader needs to run it again."""
    return {
        "code_version": _code_version(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "command": ["python", "-m", "engine.backtest", *sys.argv[1:]],
    }


def _code_version() -> str:
    version = metadata.version("kronos-engine")
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return version
    ask = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    try:
        said = subprocess.run(ask, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return version
    return f"{version}+{said.stdout.strip()}" if said.returncode == 0 else version

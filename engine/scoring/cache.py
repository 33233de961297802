"""Finished shards kept for other runs: a folder for each fingerprint, the oldest pruned.

The cache is a help, never a source of failure or of other numbers: it holds the same files as a
run folder, checked by the same hash, and an error in it is a warning.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.scoring.shard_store import MARK_LETTERS, ShardStore
from engine.scoring.storage import LocalFolder

__all__ = [
    "CacheEntry",
    "ScoreCache",
    "cache_folder",
    "describe_cache",
    "open_cache",
    "prune_cache",
]

log = logging.getLogger(__name__)
OFF = "off"
GB = 10**9


@dataclass(frozen=True)
class CacheEntry:
    """What the cache holds of one fingerprint.

    Attributes
    ----------
    fingerprint
        sha256 hex, as in a run's manifest.
    files
        How many shard files.
    bytes
        Their size; a file that a run folder holds too takes its space once.
    last_used
        Unix time of the last run that read or added one.
    """

    fingerprint: str
    files: int
    bytes: int
    last_used: float


class ScoreCache:
    """Shards of earlier runs under `root`, `limit_bytes` at most."""

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self.root = root
        self._limit_bytes = limit_bytes

    def store(self, fingerprint: str) -> ShardStore:
        """The cache's shards of one fingerprint."""
        return ShardStore(self.root / fingerprint, fingerprint)

    def marks(self) -> set[str]:
        """The first `MARK_LETTERS` of every fingerprint that it holds."""
        try:
            return {folder.name[:MARK_LETTERS] for folder in _folders(self.root)}
        except OSError as error:
            log.warning("the score cache is not used: %s", error)
            return set()

    def fetch(self, missing: pl.DataFrame, into: ShardStore) -> set[str]:
        """Copy the files that hold missing windows into a run's store; returns their names.

        `missing` has asof, ticker and hash. Raises OSError if `into` cannot be written.
        """
        kept = self.store(into.fingerprint)
        try:
            windows = kept.windows()
        except OSError as error:
            log.warning("the score cache is not used: %s", error)
            return set()
        if windows is None:
            return set()
        key = ["asof", "ticker", "hash"]
        offered = windows.unique(key, keep="first", maintain_order=True)
        names = set(offered.join(missing, on=key, how="semi")["file"].to_list()) - into.names()
        for name in sorted(names):
            _copy(kept, into, name)
        if names:
            _touch(self.root / into.fingerprint)
        return names

    def add(self, store: ShardStore) -> None:
        """Keep a run's shards, and prune to the limit."""
        kept = self.store(store.fingerprint)
        try:
            for name in sorted(store.names() - kept.names()):
                _copy(store, kept, name)
            if (self.root / store.fingerprint).is_dir():
                _touch(self.root / store.fingerprint)
            prune_cache(self.root, max_bytes=self._limit_bytes)
        except OSError as error:
            log.warning("shards are not kept in the score cache: %s", error)


def cache_folder(setting: str | None = None) -> Path | None:
    """Where the cache is: a configured folder, `$XDG_CACHE_HOME/kronos-engine/scores` for None,
    nowhere (None) for "off"."""
    if setting == OFF:
        return None
    if setting is not None:
        return Path(setting).expanduser()
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "kronos-engine" / "scores"


def open_cache(setting: str | None, limit_gb: float) -> ScoreCache | None:
    """The cache of `scoring.cache` and `scoring.cache_gb`; None if it is off."""
    root = cache_folder(setting)
    return ScoreCache(root, int(limit_gb * GB)) if root and limit_gb > 0 else None


def describe_cache(root: Path | None = None) -> list[CacheEntry]:
    """What the cache (by default the one in the XDG folder) holds, last used first."""
    root = root or cache_folder()
    assert root is not None
    entries = []
    for folder in _folders(root):
        sizes = [size for _, size, _ in _files(folder)]
        entries.append(CacheEntry(folder.name, len(sizes), sum(sizes), folder.stat().st_mtime))
    return sorted(entries, key=lambda entry: entry.last_used, reverse=True)


def prune_cache(
    root: Path | None = None, *, older_than_days: float | None = None, max_bytes: int | None = None
) -> tuple[int, int]:
    """Remove fingerprints not used for so long, then the longest unused ones until what is left
    fits; of the last that does not fit, its oldest files only. Returns (files, bytes) removed."""
    root = root or cache_folder()
    assert root is not None
    now = time.time()
    removed = freed = 0
    by_use = sorted(_folders(root), key=lambda folder: folder.stat().st_mtime)
    kept = [(folder, sorted(_files(folder))) for folder in by_use]
    total = sum(size for _, files in kept for _, size, _ in files)
    for folder, files in kept:
        used = folder.stat().st_mtime
        old = older_than_days is not None and now - used > older_than_days * 86_400
        for _, size, path in files:
            if old or (max_bytes is not None and total > max_bytes):
                path.unlink(missing_ok=True)
                removed, freed, total = removed + 1, freed + size, total - size
        with contextlib.suppress(OSError):
            os.utime(folder, (used, used))  # removing files is no use of the folder
        with contextlib.suppress(OSError):
            folder.rmdir()
    return removed, freed


def _folders(root: Path) -> Iterable[Path]:
    return [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []


def _files(folder: Path) -> list[tuple[float, int, Path]]:
    """(time of writing, bytes, path) of each shard file."""
    found = []
    for path in folder.glob("*.parquet"):
        with contextlib.suppress(FileNotFoundError):
            facts = path.stat()
            found.append((facts.st_mtime, facts.st_size, path))
    return found


def _copy(source: ShardStore, target: ShardStore, name: str) -> None:
    """A second name for the same file where the file system can, else a copy."""
    here, there = source.folder, target.folder
    if isinstance(here, LocalFolder) and isinstance(there, LocalFolder):
        there.path.mkdir(parents=True, exist_ok=True)
        try:
            os.link(here.path / name, there.path / name)
        except (FileExistsError, FileNotFoundError):
            return
        except OSError:
            pass
        else:
            return
    there.write(name, here.read(name))


def _touch(folder: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(folder)

"""Finished shards kept for other runs: a folder for each fingerprint, the oldest pruned.

The cache is a help, never a source of failure or of other numbers: it holds the same files as a
run folder, checked by the same hash, and an error in it is a warning.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

import polars as pl

from engine.cache import cache_folder, prune_cache
from engine.scoring.shard_store import MARK_LETTERS, ShardStore
from engine.scoring.storage import LocalFolder

__all__ = ["ScoreCache", "open_cache"]

log = logging.getLogger(__name__)
GB = 10**9


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
            folders = self.root.iterdir() if self.root.is_dir() else ()
            return {folder.name[:MARK_LETTERS] for folder in folders if folder.is_dir()}
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


def open_cache(setting: str | None, limit_gb: float) -> ScoreCache | None:
    """The cache of `scoring.cache` and `scoring.cache_gb`; None if it is off."""
    root = cache_folder(setting)
    return ScoreCache(root, int(limit_gb * GB)) if root and limit_gb > 0 else None


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

"""The user's cache of scores and downloads: where it lies, what it holds, how the oldest goes.

It knows files and times only; what a score is, `engine.scoring.cache` knows.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CacheEntry", "cache_folder", "describe_cache", "prune_cache", "user_cache"]

OFF = "off"


@dataclass(frozen=True)
class CacheEntry:
    """What the score cache holds of one fingerprint.

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


def user_cache(name: str) -> Path:
    """`$XDG_CACHE_HOME/kronos-engine/NAME`, by default under `~/.cache`."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "kronos-engine" / name


def cache_folder(setting: str | None) -> Path | None:
    """Where `scoring.cache` puts scores: a folder, the user's cache for None, nowhere for "off"."""
    if setting == OFF:
        return None
    return user_cache("scores") if setting is None else Path(setting).expanduser()


def describe_cache(root: Path) -> list[CacheEntry]:
    """What the score cache holds, last used first."""
    entries = []
    for folder in _folders(root):
        sizes = [size for _, size, _ in _files(folder)]
        entries.append(CacheEntry(folder.name, len(sizes), sum(sizes), folder.stat().st_mtime))
    return sorted(entries, key=lambda entry: entry.last_used, reverse=True)


def prune_cache(
    root: Path, *, older_than_days: float | None = None, max_bytes: int | None = None
) -> tuple[int, int]:
    """Remove fingerprints not used for so long, then the longest unused ones until the rest fits.

    Of the last one that does not fit, only its oldest files go.

    Returns
    -------
    Files and bytes that were removed.
    """
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


def _folders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []


def _files(folder: Path) -> list[tuple[float, int, Path]]:
    """(time of writing, bytes, path) of each shard file."""
    found = []
    for path in folder.glob("*.parquet"):
        with contextlib.suppress(FileNotFoundError):
            facts = path.stat()
            found.append((facts.st_mtime, facts.st_size, path))
    return found

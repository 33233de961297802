"""Finished shards: written once and whole, checked when read."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.scoring.storage import Folder, LocalFolder, open_folder

__all__ = ["KEY", "MARK_LETTERS", "ShardStore", "Stored", "encode_shards"]

log = logging.getLogger(__name__)
KEY = ("asof", "ticker", "hash", "step")
SUFFIX = ".parquet"
READ_AT_ONCE = 256
MARK_LETTERS = 16  # of the fingerprint, at the start of a file's name


def encode_shards(frame: pl.DataFrame, fingerprint: str) -> bytes:
    """A Parquet file of per-step statistics; `frame` has the columns hash and shard too."""
    buffer = io.BytesIO()
    frame.write_parquet(
        buffer, compression="zstd", statistics=False, metadata={"fingerprint": fingerprint}
    )
    return buffer.getvalue()


@dataclass(frozen=True)
class Stored:
    """What a store holds.

    Attributes
    ----------
    frame
        Rows asked for, unique by `KEY`, with the id of the shard each came from in column `shard`;
        None if there is no file.
    names
        Files that were read.
    damaged
        Files that were thrown away.
    """

    frame: pl.DataFrame | None
    names: frozenset[str] = frozenset()
    damaged: int = 0


class ShardStore:
    """The shards of one fingerprint in a folder that may hold others' too.

    A file's name carries the fingerprint, the shard and a hash of these and of every byte, so a
    truncated, altered, renamed or foreign file is never read as scores: it is thrown away and
    its windows are computed again.
    """

    def __init__(self, location: str | Path | Folder, fingerprint: str) -> None:
        self.folder = open_folder(location) if isinstance(location, (str, Path)) else location
        self.fingerprint = fingerprint
        self._prefix = f"{fingerprint[:MARK_LETTERS]}-"

    def prepare(self) -> None:
        """Find out now, not after hours of scoring, that shards cannot be written. OSError."""
        if isinstance(self.folder, LocalFolder):
            self.folder.sweep()
        probe = f".writable-{self._prefix}"
        self.folder.write(probe, b"")
        self.folder.delete(probe)

    def names(self) -> set[str]:
        """Files of this fingerprint."""
        return {name for name in self.folder.names(self._prefix) if name.endswith(SUFFIX)}

    def marks(self) -> set[str]:
        """The first `MARK_LETTERS` of every fingerprint whose files lie in this folder."""
        names = (name for name in self.folder.names("") if name.endswith(SUFFIX))
        return {name[:MARK_LETTERS] for name in names}

    def name(self, shard_id: str, content: bytes) -> str:
        """The name of the file with this content."""
        return f"{self._prefix}{shard_id}-{self._digest(shard_id, content)}{SUFFIX}"

    def commit(self, shard_id: str, content: bytes) -> str:
        """Write what `encode_shards` made of a shard; returns the file's name. Raises OSError.

        The same content a second time changes nothing.
        """
        name = self.name(shard_id, content)
        self.folder.write(name, content)
        return name

    def read(
        self,
        names: Collection[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        steps: Sequence[int] | None = None,
    ) -> Stored:
        """Rows of these steps (all) in these columns (all), of some files (all).

        A window that was committed in two shards (by runs with other neighbours) is the same
        bits in both; one is kept. Raises OSError if the folder cannot be read.
        """
        wanted = sorted(self.names() if names is None else names)
        frames: list[pl.DataFrame] = []
        whole: set[str] = set()
        damaged = 0
        for checked, bad in self._checked(wanted):
            damaged += bad
            whole |= checked.keys()
            if checked:
                frames.append(_decode(list(checked.values()), columns, steps))
        if not frames:
            return Stored(None, damaged=damaged)
        frame = pl.concat(frames).unique(list(KEY), keep="first", maintain_order=True)
        return Stored(frame, frozenset(whole), damaged)

    def windows(self) -> pl.DataFrame | None:
        """asof, ticker, hash and the file they are in; a row for each window of each file."""
        frames = [
            pl.read_parquet(io.BytesIO(content), columns=list(KEY))
            .filter(pl.col("step") == pl.col("step").min())
            .select("asof", "ticker", "hash", file=pl.lit(name))
            for checked, _ in self._checked(sorted(self.names()))
            for name, content in checked.items()
        ]
        return pl.concat(frames) if frames else None

    def _checked(self, names: Sequence[str]) -> Iterator[tuple[dict[str, bytes], int]]:
        """(name → content of whole files, files thrown away), some hundred files at a time."""
        with ThreadPoolExecutor(self.folder.threads) as threads:
            for start in range(0, len(names), READ_AT_ONCE):
                part = names[start : start + READ_AT_ONCE]
                contents = dict(zip(part, threads.map(self._read, part), strict=True))
                whole = {name: content for name, content in contents.items() if content}
                gone = [name for name, content in contents.items() if content == b""]
                for name in gone:
                    self._throw_away(name)
                yield whole, len(gone)

    def _read(self, name: str) -> bytes | None:
        """The content; empty if damaged, None if somebody removed the file meanwhile."""
        try:
            content = self.folder.read(name)
        except FileNotFoundError:
            return None
        shard_id, _, digest = name[len(self._prefix) : -len(SUFFIX)].rpartition("-")
        return content if digest == self._digest(shard_id, content) else b""

    def _throw_away(self, name: str) -> None:
        log.warning("shard %s is damaged; its windows will be computed again", name)
        try:
            self.folder.delete(name)
        except OSError as error:
            log.warning("the damaged shard %s cannot be removed: %s", name, error)

    def _digest(self, shard_id: str, content: bytes) -> str:
        digest = hashlib.blake2b(digest_size=10)
        digest.update(f"{self.fingerprint}/{shard_id}/".encode())
        digest.update(content)
        return digest.hexdigest()


def _decode(
    contents: Sequence[bytes], columns: Sequence[str] | None, steps: Sequence[int] | None
) -> pl.DataFrame:
    rows = pl.scan_parquet(list(contents))
    if steps is not None:
        rows = rows.filter(pl.col("step").is_in(list(steps)))
    if columns is not None:
        rows = rows.select(list(dict.fromkeys([*KEY, "shard", *columns])))
    return rows.collect()

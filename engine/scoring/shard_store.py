"""Finished shards on disk: written once and whole, checked when read."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from engine.files import replace_file

__all__ = ["ShardStore"]

log = logging.getLogger(__name__)
FINGERPRINT = b"fingerprint"


class ShardStore:
    """The shards of one fingerprint in a folder that may hold others' too.

    A file carries its fingerprint in name and metadata and a checksum on every page, so a
    truncated, altered or foreign file is never read as scores: it is set aside and recomputed.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder = folder
        self._fingerprint = fingerprint
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, shard_id: str) -> Path:
        """Where a shard's file is or will be."""
        return self._folder / f"{self._fingerprint[:16]}-{shard_id}.parquet"

    def commit(self, shard_id: str, frame: pl.DataFrame) -> None:
        """Write a finished shard; a second time changes nothing. Raises OSError."""
        table = frame.to_arrow()
        metadata = {FINGERPRINT: self._fingerprint.encode()}
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata})
        replace_file(
            self.path(shard_id),
            lambda part: pq.write_table(
                table, part, compression="zstd", write_page_checksum=True, store_schema=True
            ),
        )

    def read(self) -> tuple[pl.DataFrame | None, int]:
        """(all rows of this fingerprint or None, files that had to be thrown away).

        Column `shard` holds the id of the file each row came from. A window that was committed
        in two shards (by runs with other neighbours) is the same bits in both; one is kept.
        """
        frames, torn = [], 0
        for path in sorted(self._folder.glob(f"{self._fingerprint[:16]}-*.parquet")):
            try:
                shard = path.stem.rpartition("-")[2]
                frames.append(self._read(path).with_columns(shard=pl.lit(shard)))
            except (pa.ArrowException, OSError, ValueError) as error:
                torn += 1
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                log.warning("shard %s is damaged and will be computed again: %s", path.name, reason)
                path.unlink(missing_ok=True)
        if not frames:
            return None, torn
        key = ["asof", "ticker", "hash", "step"]
        return pl.concat(frames).unique(key, keep="first", maintain_order=True), torn

    def _read(self, path: Path) -> pl.DataFrame:
        content = pq.ParquetFile(io.BytesIO(path.read_bytes()), page_checksum_verification=True)
        found = (content.schema_arrow.metadata or {}).get(FINGERPRINT, b"").decode()
        if found != self._fingerprint:
            raise ValueError("it belongs to another fingerprint")
        frame = pl.from_arrow(content.read())
        assert isinstance(frame, pl.DataFrame)
        return frame

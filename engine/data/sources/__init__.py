"""Where bars come from."""

from __future__ import annotations

from pathlib import Path

from engine.data.sources.base import Source, SourceData
from engine.data.sources.embedded import EmbeddedSource
from engine.data.sources.files import FileSource
from engine.errors import UsageError

__all__ = ["EmbeddedSource", "FileSource", "Source", "SourceData", "open_source"]


def open_source(kind: str, path: Path | str | None = None, *, zone: str = "UTC") -> Source:
    """The source named by `data.source`, reading `data.path` where it needs one.

    `zone` is of the times of intraday bars that are written without one.

    Raises
    ------
    UsageError
        The kind is unknown, or it needs a path and has none.
    """
    match kind:
        case "embedded":
            return EmbeddedSource()
        case "parquet" | "csv":
            if path is None:
                raise UsageError(f"data.path is required with data.source {kind}")
            return FileSource(path, "parquet" if kind == "parquet" else "csv", zone=zone)
    raise UsageError(f"data.source: unknown source {kind!r}; use embedded, parquet or csv")

"""What a reader of a store finds: the list of its export files, replaced as one.

`<store>.export/manifest.json` names every Parquet file that makes up the store's content. The
files themselves never change; an import writes others and then replaces the manifest, so a reader
sees the store before an import or after it, never between.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from engine.data.store.tables import FORMAT
from engine.errors import UsageError
from engine.files import write_json

__all__ = ["Manifest", "Part", "export_folder", "find_import", "read_manifest", "write_manifest"]


@dataclass(frozen=True)
class Part:
    """One Parquet file of bars, sorted by (ticker, date or ts): those of one year or month."""

    file: str
    bar: str
    period: str
    first: date
    last: date
    rows: int


@dataclass(frozen=True)
class Manifest:
    """The files of one state of the store.

    Attributes
    ----------
    calendar
        The exchange's calendar.
    parts
        The files of the bars.
    tables
        Name of every other table → its file.
    imports
        The table of imports: what, when, hash, counts.
    """

    calendar: str
    parts: tuple[Part, ...] = ()
    tables: dict[str, str] = field(default_factory=dict)
    imports: tuple[dict[str, Any], ...] = ()

    @property
    def files(self) -> set[str]:
        """Every file the manifest names."""
        return {part.file for part in self.parts} | set(self.tables.values())


def export_folder(store: Path) -> Path:
    """Where the exports of a store lie: beside it."""
    return store.with_name(f"{store.name}.export")


def read_manifest(store: Path) -> Manifest | None:
    """The current state; None where nothing was exported yet.

    Raises
    ------
    UsageError
        The manifest is damaged, or of another version.
    """
    path = export_folder(store) / "manifest.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); remove it to export again") from None
    try:
        if content["version"] == FORMAT:
            return _manifest(content)
    except (KeyError, TypeError, ValueError):
        pass
    raise UsageError(f"{path}: written by another version; remove it to export again")


def _manifest(content: dict[str, Any]) -> Manifest:
    parts = (
        Part(
            **part
            | {"first": date.fromisoformat(part["first"]), "last": date.fromisoformat(part["last"])}
        )
        for part in content["parts"]
    )
    return Manifest(content["calendar"], tuple(parts), content["tables"], tuple(content["imports"]))


def write_manifest(store: Path, manifest: Manifest) -> None:
    """Replace the manifest; a reader sees the former or this one."""
    write_json(
        export_folder(store) / "manifest.json",
        {
            "version": FORMAT,
            "calendar": manifest.calendar,
            "parts": [asdict(part) for part in manifest.parts],
            "tables": manifest.tables,
            "imports": list(manifest.imports),
        },
    )


def find_import(manifest: Manifest | None, content: str) -> dict[str, Any] | None:
    """The import of this content hash, if there was one."""
    imports = manifest.imports if manifest is not None else ()
    return next((entry for entry in imports if entry["hash"] == content), None)

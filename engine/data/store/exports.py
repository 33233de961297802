"""The store's content as Parquet files, for readers in other processes.

1. `export` writes the bars of each changed period, and the small tables, to files of new names.
2. It replaces `<store>.export/manifest.json`, the list of the files that make up the store: a
   reader sees the store before an import or after it, never between.
3. Files that neither the manifest nor the one before it names are removed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from engine.data.actions import action_factors
from engine.data.source import ACTIONS
from engine.data.store.database import DAILY, FORMAT, VALUES, first_row
from engine.data.store.merge import period_format
from engine.errors import UsageError
from engine.files import replace_file, write_frame, write_json

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "Manifest",
    "Part",
    "export",
    "export_folder",
    "find_import",
    "read_manifest",
    "write_manifest",
]

_ROW_GROUP = 122_880

_TABLES = {
    "series": "SELECT * FROM series ORDER BY bar, ticker, date, ts",
    "universe": 'SELECT ticker, "from", "to" FROM universe ORDER BY ticker, "from"',
    "quarantine": "SELECT * FROM quarantine ORDER BY ticker, date, rule",
    "corrections": "SELECT * FROM corrections ORDER BY ticker, date, ts",
}


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


def export(
    connection: duckdb.DuckDBPyConnection,
    store: Path,
    former: Manifest | None,
    changed: Mapping[str, set[str]] | None,
    tables: Collection[str],
    calendar: str,
) -> Manifest:
    """Write what changed and replace the manifest.

    `changed` maps bar sizes to their periods with other rows than `former` exported; None for
    everything. `tables` names the other tables with other rows.
    """
    folder = export_folder(store)
    folder.mkdir(parents=True, exist_ok=True)
    imports = _imports(connection)
    number = imports[-1]["id"] if imports else 0
    kept = [
        part
        for part in (former.parts if former and changed is not None else ())
        if part.period not in (changed or {}).get(part.bar, set())
    ]
    written = [
        _write_part(connection, folder, bar, period, number)
        for bar, periods in (_all_periods(connection) if changed is None else changed).items()
        for period in sorted(periods)
    ]
    files = dict(former.tables) if former and changed is not None else {}
    for name in ("actions", *_TABLES) if changed is None else tables:
        if not first_row(connection, f"SELECT count(*) FROM {name}")[0]:
            continue
        files[name] = f"{name}-{number}.parquet"
        if name == "actions":
            write_frame(folder / files[name], _actions(connection))
        else:
            _copy(connection, folder, files[name], _TABLES[name])
    parts = sorted([*kept, *(part for part in written if part)], key=lambda p: (p.bar, p.period))
    manifest = Manifest(calendar, tuple(parts), files, tuple(imports))
    write_manifest(store, manifest)
    _clean(folder, manifest, former)
    return manifest


def _write_part(
    connection: duckdb.DuckDBPyConnection, folder: Path, bar: str, period: str, number: int
) -> Part | None:
    where = _where(bar, period)
    query = f"SELECT min(date), max(date), count(*) FROM bars WHERE {where}"
    first, last, rows = first_row(connection, query)
    if not rows:
        return None
    time = "" if bar == DAILY else "ts, "
    query = (
        f"SELECT ticker, {time}date, {', '.join(VALUES)} FROM bars WHERE {where} "
        f"ORDER BY ticker, {'date' if bar == DAILY else 'ts'}"
    )
    file = _copy(connection, folder, f"bars-{bar}-{period}-{number}.parquet", query)
    return Part(file, bar, period, first, last, rows)


def _actions(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """The actions with their factors, of daily bars where there are any."""
    columns = ", ".join(ACTIONS.names())
    actions = connection.sql(f"SELECT {columns} FROM actions").pl().cast(ACTIONS)
    closes = connection.sql(
        "SELECT ticker, date, close, adj_factor FROM bars "
        "WHERE ticker IN (SELECT ticker FROM actions) ORDER BY ticker, date, ts, bar DESC"
    ).pl()
    return action_factors(closes, actions)


def _where(bar: str, period: str) -> str:
    year, month = int(period[:4]), int(period[5:] or 1)
    after = datetime(year + (month == 12 or bar == DAILY), 1 if bar == DAILY else month % 12 + 1, 1)
    return f"bar = '{bar}' AND date >= '{year:04}-{month:02}-01' AND date < '{after:%Y-%m-%d}'"


def _copy(connection: duckdb.DuckDBPyConnection, folder: Path, file: str, query: str) -> str:
    def write(part: Path) -> None:
        target = str(part).replace("'", "''")
        connection.execute(
            f"COPY ({query}) TO '{target}' "
            f"(FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE {_ROW_GROUP})"
        )

    replace_file(folder / file, write)
    return file


def _all_periods(connection: duckdb.DuckDBPyConnection) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for (bar,) in connection.execute("SELECT DISTINCT bar FROM bars").fetchall():
        periods = connection.execute(
            f"SELECT DISTINCT strftime(date, '{period_format(bar)}') FROM bars WHERE bar = ?", [bar]
        )
        found[bar] = {period for (period,) in periods.fetchall()}
    return found


def _imports(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    found = connection.execute("SELECT * FROM imports ORDER BY id")
    names = [column[0] for column in found.description]
    rows: Sequence[tuple[Any, ...]] = found.fetchall()
    return [
        {**dict(zip(names, row, strict=True)), "at": row[1].isoformat(timespec="seconds") + "Z"}
        for row in rows
    ]


def _clean(folder: Path, manifest: Manifest, former: Manifest | None) -> None:
    """Remove what no reader can want: one that opened the manifest before may still be reading."""
    wanted = manifest.files | (former.files if former else set()) | {"manifest.json"}
    for path in folder.iterdir():
        if path.name not in wanted and path.is_file():
            path.unlink(missing_ok=True)

"""The store's content as Parquet files, for readers in other processes.

1. `export` writes the bars of each changed period, and the small tables, to files of new names.
2. It replaces the manifest, which is what readers see.
3. Files that neither the manifest nor the one before it names are removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.data.store.manifest import Manifest, Part, export_folder, write_manifest
from engine.data.store.merge import period_format
from engine.data.store.query import first_row
from engine.data.store.tables import DAILY, VALUES
from engine.files import replace_file

if TYPE_CHECKING:
    import duckdb

__all__ = ["export"]

_ROW_GROUP = 122_880

# A split of r new shares per old multiplies what an old share is worth by r; a dividend D, taken
# at the close P before it, by P / (P - D) (the method of CRSP). The running product from the
# first action on is the adjustment factor of a date: it knows nothing of later actions.
_ACTIONS = """
SELECT a.ticker, a.date, a.kind, a.value, a.in_prices,
    CASE WHEN a.in_prices OR a.ticker IN (SELECT ticker FROM recorded) THEN 1.0
         WHEN a.kind = 'split' THEN a.value
         WHEN p.close > a.value THEN p.close / (p.close - a.value)
         ELSE 1.0 END AS factor
FROM actions a
ASOF LEFT JOIN (SELECT ticker, date, arg_max(close, coalesce(ts, date)) AS close
    FROM bars WHERE ticker IN (SELECT ticker FROM actions) GROUP BY ticker, date) p
    ON a.ticker = p.ticker AND a.date > p.date
ORDER BY a.ticker, a.date, a.kind
"""
_TABLES = {
    "series": "SELECT * FROM series ORDER BY bar, ticker, date, ts",
    "actions": f"""WITH recorded AS (SELECT DISTINCT ticker FROM bars WHERE adj_factor <> 1
        AND ticker IN (SELECT ticker FROM actions)) {_ACTIONS}""",
    "universe": 'SELECT ticker, "from", "to" FROM universe ORDER BY ticker, "from"',
    "quarantine": "SELECT * FROM quarantine ORDER BY ticker, date, rule",
    "corrections": "SELECT * FROM corrections ORDER BY ticker, date, ts",
}


def export(
    connection: duckdb.DuckDBPyConnection,
    store: Path,
    former: Manifest | None,
    changed: Mapping[str, set[str]] | None,
    calendar: str,
) -> Manifest:
    """Write what changed and replace the manifest.

    `changed` maps bar sizes to their periods with other rows than `former` exported; None for
    everything.
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
    tables = {
        name: _copy(connection, folder, f"{name}-{number}.parquet", query)
        for name, query in _TABLES.items()
    }
    parts = sorted([*kept, *(part for part in written if part)], key=lambda p: (p.bar, p.period))
    manifest = Manifest(calendar, tuple(parts), tables, tuple(imports))
    write_manifest(store, manifest)
    _clean(folder, manifest, former)
    return manifest


def _write_part(
    connection: duckdb.DuckDBPyConnection, folder: Path, bar: str, period: str, number: int
) -> Part | None:
    where = _where(bar, period)
    first, last, rows, tickers = first_row(
        connection,
        f"SELECT min(date), max(date), count(*), count(DISTINCT ticker) FROM bars WHERE {where}",
    )
    if not rows:
        return None
    time = "" if bar == DAILY else "ts, "
    query = (
        f"SELECT ticker, {time}date, {', '.join(VALUES)} FROM bars WHERE {where} "
        f"ORDER BY ticker, {'date' if bar == DAILY else 'ts'}"
    )
    file = _copy(connection, folder, f"bars-{bar}-{period}-{number}.parquet", query)
    return Part(file, bar, period, first, last, rows, tickers)


def _where(bar: str, period: str) -> str:
    year, month = int(period[:4]), int(period[5:] or 1)
    after = datetime(year + (month == 12 or bar == DAILY), 1 if bar == DAILY else month % 12 + 1, 1)
    return f"bar = '{bar}' AND date >= '{year:04}-{month:02}-01' AND date < '{after:%Y-%m-%d}'"


def _copy(connection: duckdb.DuckDBPyConnection, folder: Path, file: str, query: str) -> str:
    def write(part: Path) -> None:
        target = str(part).replace("'", "''")
        connection.execute(
            f"COPY ({query}) TO '{target}' "
            f"(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE {_ROW_GROUP})"
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

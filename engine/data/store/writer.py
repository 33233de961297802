"""The one process that writes a store.

1. `StoreWriter.open` takes the lock, opens the DuckDB file and mends exports that a killed
   process left behind.
2. `StoreWriter.add` judges and merges an import batch by batch within one transaction; whatever
   ends the process before the commit leaves the store as it was.
3. After the commit the exports of what changed are replaced, for readers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from engine.calendar import TradingCalendar
from engine.data.rules import QUARANTINE, judge
from engine.data.source import ACTIONS, MEMBERS
from engine.data.store.database import CREATE, FORMAT, bar_size, first_row, run_with
from engine.data.store.exports import Manifest, export, read_manifest
from engine.data.store.merge import Merger
from engine.errors import UsageError
from engine.files import WriteLock

if TYPE_CHECKING:
    import duckdb

__all__ = ["Delivery", "ImportResult", "StoreWriter"]

_MEMORY = "700MB"


@dataclass(frozen=True)
class Delivery:
    """What one import brings.

    Attributes
    ----------
    what
        What messages and the table of imports call it: a file, a folder, a source.
    kind
        "file", or the name of the source.
    hash
        Of its content and of the settings that say how it is read.
    batches
        Bars as a source has them (not judged), part by part.
    series, actions, members
        As in `SourceData`.
    bar
        The length of its bars; None: found from the times.
    """

    what: str
    kind: str
    hash: str
    batches: Iterable[pl.DataFrame] = ()
    series: Iterable[pl.DataFrame] = ()
    actions: pl.DataFrame | None = None
    members: pl.DataFrame | None = None
    bar: str | None = None


@dataclass(frozen=True)
class ImportResult:
    """What became of every row of an import: rows = added + corrected + unchanged + quarantined.

    `rules` counts the quarantined rows by rule.
    """

    id: int
    what: str
    rows: int
    added: int
    corrected: int
    unchanged: int
    quarantined: int
    rules: dict[str, int]


class StoreWriter:
    """The store, open for writing; made by `StoreWriter.open`."""

    def __init__(
        self, path: Path, connection: duckdb.DuckDBPyConnection, calendar: TradingCalendar
    ) -> None:
        self.path = path
        self.calendar = calendar
        self._connection = connection

    @classmethod
    @contextmanager
    def open(cls, path: Path | str, *, calendar: str | None = None) -> Iterator[StoreWriter]:
        """The store at `path`, made if there is none; locked until the block ends.

        Raises
        ------
        UsageError
            Another process writes it, the file is no store, or it is of another calendar.
        """
        path = Path(path)
        with WriteLock(path):
            connection = _connect(path)
            try:
                chosen = _prepare(connection, path, calendar)
                writer = cls(path, connection, TradingCalendar(chosen))
                writer._mend_exports()
                yield writer
            finally:
                connection.close()

    def imported(self, content: str) -> int | None:
        """The number of the import of this content hash, if there was one."""
        query = "SELECT max(id) FROM imports WHERE hash = ?"
        return first_row(self._connection, query, [content])[0]

    def add(
        self, delivery: Delivery, *, progress: Callable[[int], None] | None = None
    ) -> ImportResult:
        """Judge and store everything of `delivery`, or nothing.

        `progress` is told the rows read so far.
        """
        self._connection.execute("BEGIN")
        try:
            done, changed = self._add(delivery, progress)
            if not done.rows:
                raise UsageError(f"{delivery.what}: holds no rows of what is asked for")
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._export(read_manifest(self.path), changed, _other_tables(done, delivery))
        return done

    def _add(
        self, delivery: Delivery, progress: Callable[[int], None] | None
    ) -> tuple[ImportResult, dict[str, set[str]]]:
        number = self._next_number()
        tally = _Tally(number, delivery.what)
        changed: dict[str, set[str]] = {}
        for table, batches in (("bars", delivery.batches), ("series", delivery.series)):
            merger: Merger | None = None
            for batch in batches:
                tally.rows += batch.height
                if merger is None:
                    bar = delivery.bar if table == "bars" else None
                    size = bar or bar_size(batch, delivery.what)
                    merger = Merger(self._connection, table, size, number)
                self._merge(merger, batch, tally)
                if progress:
                    progress(tally.rows)
            if merger is not None:
                tally.count(merger)
                if table == "bars":
                    changed[merger.bar] = merger.touched
        self._add_actions(delivery.actions, tally)
        self._add_members(delivery.members, tally)
        done = tally.result()
        self._record(delivery, done)
        return done, changed

    def _record(self, delivery: Delivery, done: ImportResult) -> None:
        at = datetime.now(UTC).replace(tzinfo=None)
        counts = [done.rows, done.added, done.corrected, done.unchanged, done.quarantined]
        self._connection.execute(
            "INSERT INTO imports VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [done.id, at, delivery.what, delivery.kind, delivery.hash, *counts],
        )

    def _merge(self, merger: Merger, batch: pl.DataFrame, tally: _Tally) -> None:
        kept, bad = judge(batch, self.calendar)
        if "ts" in kept.columns:
            kept = kept.with_columns(pl.col("ts").dt.replace_time_zone(None))
        else:
            kept = kept.with_columns(ts=pl.lit(None, dtype=pl.Datetime("us")))
        twice = merger.add(kept)
        self._quarantine(pl.concat([bad, twice.cast(QUARANTINE)]), tally)

    def _quarantine(self, rows: pl.DataFrame, tally: _Tally) -> None:
        if rows.is_empty():
            return
        for rule, count in rows["rule"].value_counts().iter_rows():
            tally.rules[rule] = tally.rules.get(rule, 0) + count
        self._insert("quarantine", rows, tally)

    def _add_actions(self, rows: pl.DataFrame | None, tally: _Tally) -> None:
        if rows is None or rows.is_empty():
            return
        value = pl.col("value")
        bad = (
            pl.any_horizontal(pl.col("ticker", "date", "kind", "in_prices").is_null())
            | ~pl.col("kind").is_in(["split", "dividend"])
            | ~(value.is_finite() & (value > 0)).fill_null(False)
        )
        self._replace(
            "actions", ["ticker", "date", "kind"], rows.select(ACTIONS.names()), bad,
            "an action needs a ticker, a date, kind split or dividend, and a value above 0",
            tally,
        )  # fmt: skip

    def _add_members(self, rows: pl.DataFrame | None, tally: _Tally) -> None:
        if rows is None or rows.is_empty():
            return
        bad = pl.any_horizontal(pl.col("ticker", "from").is_null()) | (
            pl.col("to") < pl.col("from")
        ).fill_null(False)
        self._replace(
            "universe", ["ticker", "from"], rows.select(MEMBERS.names()), bad,
            "a membership needs a ticker and a first date that is not after its last",
            tally,
        )  # fmt: skip

    def _replace(
        self,
        table: str,
        key: list[str],
        rows: pl.DataFrame,
        bad: pl.Expr,
        rule: str,
        tally: _Tally,
    ) -> None:
        """Rows of a small table: quarantined, unchanged, corrected by key, or added."""
        tally.rows += rows.height
        time = key[1]
        lost = rows.filter(bad)
        good = rows.filter(~bad)
        latest = pl.struct(key).is_last_distinct()
        last, repeats = good.filter(latest), good.filter(~latest)
        broken = _lost(lost, time, f"invalid row of {table}", pl.lit(rule), tally.what)
        doubled = _lost(repeats, time, "duplicate row", pl.lit("the last is kept"), tally.what)
        self._quarantine(pl.concat([broken, doubled]), tally)
        names = ", ".join(f'"{name}"' for name in rows.columns)
        held = self._connection.sql(f"SELECT {names} FROM {table}").pl().cast(dict(rows.schema))
        known = last.join(held, on=key, how="semi")
        unchanged = known.join(held, on=rows.columns, how="semi", nulls_equal=True)
        fresh = last.join(unchanged, on=key, how="anti")
        matched = " AND ".join(f'b."{name}" = k."{name}"' for name in key)
        query = f"DELETE FROM {table} b USING rows k WHERE {matched}"
        run_with(self._connection, query, fresh.select(key))
        self._insert(table, fresh, tally)
        tally.unchanged += unchanged.height
        tally.corrected += known.height - unchanged.height
        tally.added += last.height - known.height

    def _insert(self, table: str, rows: pl.DataFrame, tally: _Tally) -> None:
        rows = rows.with_columns(import_id=pl.lit(tally.number, dtype=pl.Int32))
        names = ", ".join(f'"{name}"' for name in rows.columns)
        query = f"INSERT INTO {table} ({names}) SELECT {names} FROM rows"
        run_with(self._connection, query, rows)

    def _next_number(self) -> int:
        return first_row(self._connection, "SELECT coalesce(max(id), 0) + 1 FROM imports")[0]

    def _mend_exports(self) -> None:
        """Export again where a process died between its commit and its export."""
        manifest = read_manifest(self.path)
        known = manifest.imports[-1]["id"] if manifest and manifest.imports else 0
        if known != self._next_number() - 1 or (manifest is None and known):
            self._export(manifest, None, ())

    def _export(
        self,
        former: Manifest | None,
        changed: dict[str, set[str]] | None,
        tables: Collection[str],
    ) -> None:
        export(self._connection, self.path, former, changed, tables, self.calendar.name)


def _other_tables(done: ImportResult, delivery: Delivery) -> list[str]:
    """The tables besides bars that an import changed; factors of actions depend on bars too."""
    return [
        "actions",
        *(["series"] if delivery.series != () else []),
        *(["universe"] if delivery.members is not None else []),
        *(["quarantine"] if done.quarantined else []),
        *(["corrections"] if done.corrected else []),
    ]


class _Tally:
    """What became of the rows of one import so far."""

    def __init__(self, number: int, what: str) -> None:
        self.number, self.what = number, what
        self.rows = self.added = self.corrected = self.unchanged = 0
        self.rules: dict[str, int] = {}

    def count(self, merger: Merger) -> None:
        self.added += merger.added
        self.corrected += merger.corrected
        self.unchanged += merger.unchanged

    def result(self) -> ImportResult:
        return ImportResult(
            id=self.number,
            what=self.what,
            rows=self.rows,
            added=self.added,
            corrected=self.corrected,
            unchanged=self.unchanged,
            quarantined=sum(self.rules.values()),
            rules=dict(sorted(self.rules.items())),
        )


def _lost(rows: pl.DataFrame, time: str, rule: str, message: pl.Expr, what: str) -> pl.DataFrame:
    return rows.select(
        "ticker", date=pl.col(time), rule=pl.lit(rule), message=message, source=pl.lit(what)
    ).cast(QUARANTINE)


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    import duckdb  # takes a while: an import that has nothing to do goes without

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return duckdb.connect(
            str(path), config={"memory_limit": _MEMORY, "preserve_insertion_order": False}
        )
    except duckdb.Error as error:
        reason = str(error).strip().split("\n")[0]
        raise UsageError(f"{path}: cannot be opened as a price store ({reason})") from None


def _prepare(connection: duckdb.DuckDBPyConnection, path: Path, calendar: str | None) -> str:
    """Make the tables of an empty store; returns the calendar it is of."""
    names = {
        name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    }
    if names and "imports" not in names:
        raise UsageError(f"{path}: is a DuckDB file, but not a price store")
    if not names:
        connection.execute(f"BEGIN; {CREATE} COMMIT")
    known = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    if not known:
        known = {"format": str(FORMAT), "calendar": calendar or "XNYS"}
        TradingCalendar(known["calendar"])
        connection.execute(
            "INSERT INTO meta VALUES ('format', ?), ('calendar', ?)", list(known.values())
        )
    if known.get("format") != str(FORMAT):
        raise UsageError(f"{path}: is of another version of the store; import its files again")
    if calendar is not None and calendar != known["calendar"]:
        raise UsageError(
            f"data.calendar: {path} holds bars of {known['calendar']}, not of {calendar}; "
            "use another store for another exchange"
        )
    return known["calendar"]

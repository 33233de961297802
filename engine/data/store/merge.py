"""One batch of judged rows against the rows a store holds already.

A row is added where its key (ticker and date, or ts) is free, unchanged where the store holds the
same values, and a correction where it holds others. A key that comes twice in one import is
resolved as `rules.partition` does in one file: of identical rows one stays, of rows that differ
none, because none is known to be right; what the import had replaced is put back then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from engine.data.store.database import BAR_COLUMNS, DAILY, VALUES, frame_with, run_with

if TYPE_CHECKING:
    import duckdb

__all__ = ["Merger", "period_format"]

_COLUMNS = ", ".join(BAR_COLUMNS)


class Merger:
    """Merges the batches of one import into a table, within the caller's transaction.

    Attributes
    ----------
    added, corrected, unchanged
        Rows so far.
    touched
        Periods (`period_format`) whose rows changed.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, table: str, bar: str, import_id: int
    ) -> None:
        self.added = self.corrected = self.unchanged = 0
        self.touched: set[str] = set()
        self._connection = connection
        self.bar = self._bar = bar
        self._table, self._import = table, import_id
        self._key = ["ticker", "date" if bar == DAILY else "ts"]
        self._conflicts: pl.DataFrame | None = None
        known = connection.execute(f"SELECT DISTINCT ticker FROM {table} WHERE bar = ?", [bar])
        self._tickers = {ticker for (ticker,) in known.fetchall()}

    def add(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Merge rows unique in their key; returns those quarantined, with rule and message."""
        rows = self._insert_fresh_tickers(rows)
        if rows.is_empty():
            return self._quarantine(rows, "")
        rows, again = self._known_conflicts(rows)
        if rows.is_empty():
            return self._quarantine(again, "conflicting duplicates")
        joined = rows.join(self._held(rows), on=self._key, how="left", suffix="_held")
        ours = (pl.col("import_id_held") == self._import).fill_null(False)
        same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_held")) for name in VALUES)
        known = pl.col("import_id_held").is_not_null()
        kinds = joined.with_columns(
            _kind=pl.when(~known)
            .then(pl.lit("added"))
            .when(ours & same)
            .then(pl.lit("repeat"))
            .when(ours)
            .then(pl.lit("conflict"))
            .when(same)
            .then(pl.lit("unchanged"))
            .otherwise(pl.lit("corrected"))
        ).partition_by("_kind", as_dict=True, include_key=False)
        part = {name: kinds.get((name,), joined.clear()) for name in _KINDS}
        self.added += part["added"].height
        self.unchanged += part["unchanged"].height
        self._correct(part["corrected"], rows.columns)
        self._insert(part["added"].select(rows.columns))
        conflicts = part["conflict"].select(rows.columns)
        lost = self._resolve(conflicts)
        return pl.concat(
            [
                self._quarantine(part["repeat"].select(rows.columns), "duplicate row"),
                self._quarantine(conflicts, "conflicting duplicates"),
                self._quarantine(lost, "conflicting duplicates"),
                self._quarantine(again, "conflicting duplicates"),
            ]
        )

    def _insert_fresh_tickers(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Store the rows of tickers not seen before without a look; returns the others."""
        names = set(rows["ticker"].unique())
        fresh = names - self._tickers
        self._tickers |= fresh
        if not fresh:
            return rows
        if fresh == names:
            added, rest = rows, rows.clear()
        else:
            is_fresh = pl.col("ticker").is_in(sorted(fresh))
            added, rest = rows.filter(is_fresh), rows.filter(~is_fresh)
        self._insert(added)
        self.added += added.height
        return rest

    def _held(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The store's rows of the same keys."""
        keys = rows.select(self._key)
        matched = " AND ".join(f"b.{name} = k.{name}" for name in self._key)
        columns = ", ".join(f"b.{name}" for name in (*self._key, *VALUES, "import_id"))
        first, last = rows.select(a=pl.col("date").min(), b=pl.col("date").max()).row(0)
        held = frame_with(
            self._connection,
            f"SELECT {columns} FROM {self._table} b SEMI JOIN rows k ON ({matched}) "
            f"WHERE b.bar = '{self._bar}' AND b.date BETWEEN '{first}' AND '{last}'",
            keys,
        )
        return held.cast({self._key[1]: keys.schema[self._key[1]]}).rename(
            {name: f"{name}_held" for name in (*VALUES, "import_id")}
        )

    def _insert(self, rows: pl.DataFrame) -> None:
        if rows.is_empty():
            return
        self._note(rows)
        frame = rows.select(
            pl.lit(self._bar).alias("bar"),
            *[name for name in BAR_COLUMNS if name not in ("bar", "import_id")],
            pl.lit(self._import, dtype=pl.Int32).alias("import_id"),
        )
        query = f"INSERT INTO {self._table} ({_COLUMNS}) SELECT {_COLUMNS} FROM rows"
        run_with(self._connection, query, frame)

    def _correct(self, joined: pl.DataFrame, columns: list[str]) -> None:
        """Replace rows by (ticker, date or ts), and keep what stood there in `corrections`."""
        if joined.is_empty():
            return
        rows = joined.select(columns)
        self._move_away(rows, log=True)
        self._insert(rows)
        self.corrected += rows.height

    def _move_away(self, rows: pl.DataFrame, *, log: bool) -> None:
        matched = " AND ".join(f"b.{name} = k.{name}" for name in self._key)
        where = f"b.bar = '{self._bar}'"
        keys = rows.select(self._key)
        if log:
            columns = ", ".join(f"b.{name}" for name in BAR_COLUMNS)
            run_with(
                self._connection,
                f"INSERT INTO corrections SELECT '{self._table}', {columns}, {self._import} "
                f"FROM {self._table} b SEMI JOIN rows k ON ({matched}) WHERE {where}",
                keys,
            )
        query = f"DELETE FROM {self._table} b USING rows k WHERE {where} AND {matched}"
        run_with(self._connection, query, keys)

    def _resolve(self, conflicts: pl.DataFrame) -> pl.DataFrame:
        """Take away rows of this import that another row of it contradicts; returns them."""
        if conflicts.is_empty():
            return conflicts
        self._note(conflicts)
        self._move_away(conflicts, log=False)
        keys = conflicts.select(self._key)
        self._remember(keys)
        matched = " AND ".join(f"c.{name} = k.{name}" for name in self._key)
        where = (
            f"c.replaced_by = {self._import} AND c.\"table\" = '{self._table}' "
            f"AND c.bar = '{self._bar}'"
        )
        restored = run_with(
            self._connection,
            f"INSERT INTO {self._table} SELECT {', '.join('c.' + name for name in BAR_COLUMNS)} "
            f"FROM corrections c SEMI JOIN rows k ON ({matched}) WHERE {where}",
            keys,
        )
        query = f"DELETE FROM corrections c USING rows k WHERE {where} AND {matched}"
        run_with(self._connection, query, keys)
        self.corrected -= restored
        self.added -= conflicts.height - restored
        return conflicts

    def _known_conflicts(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        if self._conflicts is None:
            return rows, rows.clear()
        again = rows.join(self._conflicts, on=self._key, how="semi")
        return rows.join(self._conflicts, on=self._key, how="anti"), again

    def _remember(self, keys: pl.DataFrame) -> None:
        known = [self._conflicts] if self._conflicts is not None else []
        self._conflicts = pl.concat([*known, keys]).unique()

    def _note(self, rows: pl.DataFrame) -> None:
        self.touched.update(rows["date"].dt.strftime(period_format(self._bar)).unique())

    def _quarantine(self, rows: pl.DataFrame, rule: str) -> pl.DataFrame:
        message = (
            "the same row in another part of the import: one kept"
            if rule == "duplicate row"
            else "another part of the import has another row of this date: all removed"
        )
        return rows.select(
            "ticker", "date", rule=pl.lit(rule), message=pl.lit(message), source="source"
        )


_KINDS = ("added", "repeat", "conflict", "unchanged", "corrected")


def period_format(bar: str) -> str:
    """Which bars an export file holds: a year of daily ones, a month of intraday ones."""
    return "%Y" if bar == DAILY else "%Y-%m"

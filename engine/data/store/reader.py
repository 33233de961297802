"""Reading a price store: bars, windows, panels and who was in the universe when.

Everything is read from the store's Parquet exports, so any number of processes reads while one
writes. An open `PriceStore` shows one state of the store, whatever is imported meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import polars as pl

from engine.calendar import TradingCalendar
from engine.data.actions import Adjusted, adjust, with_factors
from engine.data.contract import BARS, INTRADAY, complete
from engine.data.source import MEMBERS
from engine.data.store.database import DAILY, EXPORTED
from engine.data.store.exports import Manifest, export_folder, read_manifest
from engine.data.store.panel import Panel, PriceGrid
from engine.errors import UsageError

__all__ = ["PriceStore", "Window"]

RECENT_SESSIONS = 10
_HELD_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Window:
    """The bars of one ticker up to a date.

    Attributes
    ----------
    bars
        At most one a session (daily) or bar start (intraday), sorted; adjusted as asked.
    missing
        The sessions or bar starts (UTC) among the last `lookback` that have no bar.
    """

    bars: pl.DataFrame
    missing: list[date] | list[datetime]

    @property
    def shortfall(self) -> int:
        """How many of the sessions asked for have no bar; 0: the window is whole."""
        return len(self.missing)


class PriceStore:
    """One state of a price store; made by `PriceStore.open`."""

    def __init__(self, path: Path, manifest: Manifest, bar: str | None = None) -> None:
        self.path = path
        self._manifest = manifest
        self._folder = export_folder(path)
        self.bar = _choose_bar(path, manifest, bar)
        self._held_grid: tuple[tuple[date, date, tuple[str, ...] | None], PriceGrid] | None = None

    @classmethod
    def open(cls, path: Path | str, *, bar: str | None = None) -> PriceStore:
        """The state of the store after its last finished import.

        `bar` chooses among the lengths of bars it holds ("1d", "5m"); null: daily ones where it
        has them, else its only ones.

        Raises
        ------
        UsageError
            There is no store, or it has no bars of that length.
        """
        path = Path(path)
        manifest = read_manifest(path)
        if manifest is None:
            if not path.is_file():
                raise UsageError(
                    f"data.store: no price store at {path}; fill one with "
                    f"`python -m engine.data import FILE --data.store {path}`"
                )
            from engine.data.store.writer import StoreWriter

            with StoreWriter.open(path) as writer:
                manifest = read_manifest(path) or Manifest(writer.calendar.name)
        return cls(path, manifest, bar)

    @cached_property
    def calendar(self) -> TradingCalendar:
        """The exchange's sessions."""
        return TradingCalendar(self._manifest.calendar)

    @property
    def imports(self) -> list[dict[str, object]]:
        """What was imported when, oldest first."""
        return list(self._manifest.imports)

    @property
    def bar_sizes(self) -> list[str]:
        """Lengths of the bars it holds."""
        return sorted({part.bar for part in self._manifest.parts})

    @property
    def height(self) -> int:
        """Rows of bars."""
        return sum(part.rows for part in self._parts())

    @property
    def bytes_on_disk(self) -> int:
        """Size of the exports of the bars."""
        return sum((self._folder / part.file).stat().st_size for part in self._parts())

    def tickers(self) -> list[str]:
        """Every ticker with bars, sorted."""
        return self._scan().select("ticker").unique().collect()["ticker"].sort().to_list()

    def factors_recorded(self) -> list[str]:
        """Tickers whose source gave factors: their actions adjust nothing."""
        rows = self._scan().filter(pl.col("adj_factor") != 1)
        return rows.select("ticker").unique().collect()["ticker"].sort().to_list()

    def span(self) -> tuple[date, date] | None:
        """First and last session with a bar; None without any."""
        parts = self._parts()
        return (min(p.first for p in parts), max(p.last for p in parts)) if parts else None

    def bars(
        self,
        tickers: Collection[str] | None = None,
        start: date | None = None,
        end: date | None = None,
        *,
        adjusted: Adjusted = True,
    ) -> pl.DataFrame:
        """Bars of `tickers` (None: all) from `start` to `end`, both inclusive.

        Parameters
        ----------
        adjusted
            True: consistently, in the money of the store's last date. "asof": in the money of
            each ticker's last bar at or before `end`, so that no later split or dividend enters.
            False: as recorded, with the factor of each bar in `adj_factor`.

        Returns
        -------
        The columns of `contract.BARS` (intraday: `INTRADAY`), sorted by (ticker, date or ts);
        volume and amount are null where the source had none.
        """
        bars = self._bars(tickers, start, end)
        if adjusted is False:
            return bars
        time = "ts" if "ts" in bars.columns else "date"
        if adjusted == "asof":
            last = bars.group_by("ticker").agg(base=pl.col("adj_factor").sort_by(time).last())
            return adjust(bars, last)
        steps = self.actions().filter(pl.col("factor") != 1)
        base = steps.group_by("ticker").agg(base=pl.col("factor").product())
        return adjust(bars, base)

    def window(
        self,
        ticker: str,
        asof: date | datetime,
        lookback: int,
        *,
        adjusted: Adjusted = "asof",
    ) -> Window:
        """The last `lookback` sessions at or before `asof`, and which of them have no bar.

        Of intraday bars the last `lookback` that start at or before `asof` (UTC; a date means
        through its session). Nothing after `asof` is looked at.

        Raises
        ------
        UsageError
            `lookback` is below 1, or the calendar is not known that far back.
        """
        slots = self._slots(asof, lookback)
        days = [slot.date() if isinstance(slot, datetime) else slot for slot in slots]
        span = timedelta(days=1 if self._intraday else 0)
        bars = self._bars([ticker], days[0] - span, days[-1] + span)
        time = "ts" if self._intraday else "date"
        wanted = pl.DataFrame({time: pl.Series(slots, dtype=bars.schema[time])})
        held, _ = complete(bars.join(wanted, on=time, how="semi", maintain_order="left"))
        missing = wanted.join(held, on=time, how="anti")[time].to_list()
        if adjusted is False:
            return Window(held, missing)
        base = held.tail(1).select("ticker", base="adj_factor") if adjusted == "asof" else None
        if adjusted is True:
            steps = self.actions().filter(pl.col("factor") != 1)
            base = steps.group_by("ticker").agg(base=pl.col("factor").product())
        return Window(adjust(held, base), missing)

    def panel(
        self,
        asofs: Sequence[date],
        lookback: int,
        tickers: Sequence[str] | None = None,
    ) -> Panel:
        """Windows of every ticker at every asof in one dense array, adjusted as of each asof.

        Daily bars only. See `Panel` for the shapes.

        Raises
        ------
        UsageError
            An asof is no session, or the store holds intraday bars.
        """
        if self._intraday:
            raise UsageError(f"{self.path}: a panel is of daily bars; these are {self.bar}")
        if not asofs or lookback < 1:
            raise UsageError("a panel needs at least one asof and a lookback of at least 1")
        return self._grid(min(asofs), max(asofs), lookback, tickers).panel(asofs, lookback)

    def universe(self, asof: date) -> list[str]:
        """The tickers that belong to the universe at `asof`, sorted; later rows are not looked at.

        By the table `universe`; a store without one: the tickers with a bar at `asof` or in the
        ten sessions before it.
        """
        members = self.members()
        if members.height:
            inside = (pl.col("from") <= asof) & (pl.col("to").is_null() | (pl.col("to") >= asof))
            return members.filter(inside)["ticker"].unique().sort().to_list()
        recent = self.calendar.sessions(asof - timedelta(days=40), asof)[-RECENT_SESSIONS - 1 :]
        if not recent:
            return []
        scan = self._scan(recent[0], asof)
        return scan.select("ticker").unique().collect()["ticker"].sort().to_list()

    def actions(self) -> pl.DataFrame:
        """ticker, date, kind, value, in_prices, factor (see `engine.data.actions`), sorted."""
        return self._table("actions")

    def members(self) -> pl.DataFrame:
        """ticker, from, to, sorted; empty where the universe is whatever has bars."""
        return self._table("universe").cast(MEMBERS)

    def series(self) -> dict[str, pl.DataFrame]:
        """Indices by name: bars as recorded."""
        rows = self._table("series")
        found = {}
        for (name, bar), part in rows.partition_by("ticker", "bar", as_dict=True).items():
            frame = part.with_columns(pl.col("ts").dt.replace_time_zone("UTC"))
            found[str(name)] = frame.select((BARS if bar == DAILY else INTRADAY).names())
        return found

    def quarantine(self) -> pl.DataFrame:
        """ticker, date, rule, message, source, import_id of every row that an import left out."""
        return self._table("quarantine")

    def corrections(self) -> pl.DataFrame:
        """Rows that a later import replaced, as they were, with `replaced_by`."""
        return self._table("corrections")

    @property
    def _intraday(self) -> bool:
        return self.bar is not None and self.bar != DAILY

    def _parts(self, start: date | None = None, end: date | None = None) -> list:
        return [
            part
            for part in self._manifest.parts
            if part.bar == self.bar
            and (start is None or part.last >= start)
            and (end is None or part.first <= end)
        ]

    def _scan(self, start: date | None = None, end: date | None = None) -> pl.LazyFrame:
        """Bars as exported; ts in UTC where intraday."""
        schema = INTRADAY if self._intraday else BARS
        parts = self._parts(start, end)
        if not parts:
            return pl.LazyFrame(schema=schema)
        rows = pl.scan_parquet([self._folder / part.file for part in parts], glob=False)
        if self._intraday:
            rows = rows.with_columns(pl.col("ts").dt.replace_time_zone("UTC"))
        if start is not None:
            rows = rows.filter(pl.col("date") >= start)
        if end is not None:
            rows = rows.filter(pl.col("date") <= end)
        return rows.select(schema.names())

    def _bars(
        self, tickers: Collection[str] | None, start: date | None, end: date | None
    ) -> pl.DataFrame:
        rows = self._scan(start, end)
        if tickers is not None:
            rows = rows.filter(pl.col("ticker").is_in(sorted(tickers)))
        bars = rows.collect().sort("ticker", "ts" if self._intraday else "date")
        return with_factors(bars, self.actions())

    def _table(self, name: str) -> pl.DataFrame:
        if name not in self._manifest.tables:
            return pl.DataFrame(schema=EXPORTED[name])
        return pl.read_parquet(self._folder / self._manifest.tables[name], glob=False)

    def _slots(self, asof: date | datetime, lookback: int) -> list:
        if lookback < 1:
            raise UsageError(f"lookback is {lookback}; it must be at least 1")
        if not self._intraday:
            day = asof.date() if isinstance(asof, datetime) else asof
            last = self.calendar.sessions(day - timedelta(days=40), day)[-1:]
            if not last:
                raise UsageError(f"{asof}: {self.calendar.name} has no session near it")
            return self.calendar.sessions(self.calendar.offset(last[0], 1 - lookback), last[0])
        return _last_bar_starts(self.calendar, asof, lookback, int(str(self.bar)[:-1]))

    def _grid(
        self, first: date, last: date, lookback: int, tickers: Sequence[str] | None
    ) -> PriceGrid:
        """Bars about the dates, remembered while the next panels lie within them."""
        first = self.calendar.offset(first, 1 - lookback)
        names = None if tickers is None else tuple(tickers)
        if self._held_grid is not None:
            held, grid = self._held_grid
            # Without names a wider grid would show tickers that had no bar yet.
            inside = names is not None and held[0] <= first and last <= held[1]
            if held == (first, last, names) or (inside and held[2] == names):
                return grid
        rows, _ = complete(self._bars(names, first, last))
        grid = PriceGrid.from_bars(rows, self.calendar.sessions(first, last), names)
        if grid.values.nbytes <= _HELD_BYTES:
            self._held_grid = ((first, last, names), grid)
        return grid


def _choose_bar(path: Path, manifest: Manifest, bar: str | None) -> str | None:
    sizes = sorted({part.bar for part in manifest.parts})
    if bar is not None:
        if bar not in sizes:
            held = ", ".join(sizes) or "none"
            raise UsageError(f"data.bar: {path} holds no {bar} bars (it holds {held})")
        return bar
    if DAILY in sizes or not sizes:
        return DAILY
    if len(sizes) > 1:
        raise UsageError(f"data.bar: {path} holds bars of {', '.join(sizes)}: choose one")
    return sizes[0]


def _last_bar_starts(
    calendar: TradingCalendar, asof: date | datetime, lookback: int, minutes: int
) -> list[datetime]:
    import numpy as np

    through_session = not isinstance(asof, datetime)
    day = asof.date() if isinstance(asof, datetime) else asof
    ahead = 6
    while True:
        starts = calendar.bar_starts(
            day - timedelta(days=ahead), day + timedelta(days=0 if through_session else 1), minutes
        )
        if isinstance(asof, datetime):
            starts = starts[starts <= np.datetime64(asof.replace(tzinfo=None))]
        if len(starts) >= lookback:
            return starts[-lookback:].tolist()
        if calendar.sessions(date.min, day - timedelta(days=ahead)) == []:
            raise UsageError(f"{calendar.name} is not known {lookback} bars before {asof}")
        ahead *= 2

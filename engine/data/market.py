"""The bars of one run: candidates, benchmark, volatility index, and every row left out.

1. `open_source` opens the source; its `fetch` reads the rows asked for.
2. `rules.judge` splits rows into kept and quarantined; `contract.complete` fills volume.
3. Benchmark and volatility index are taken from the source's series or from its tickers.
4. What the settings ask for and the source lacks is an error that names the nearest (`request`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cached_property

import polars as pl

from engine.calendar import TradingCalendar
from engine.config.data import DataSettings
from engine.data.actions import action_factors, with_factors
from engine.data.contract import BARS, INTRADAY, PRICES, complete
from engine.data.request import (
    check_names,
    nothing_found,
    nothing_kept,
    wanted,
)
from engine.data.rules import QUARANTINE, judge
from engine.data.sessions import finished
from engine.data.source import Source, SourceData, between
from engine.data.sources import open_source
from engine.errors import UsageError

__all__ = ["Market", "content_hash", "load_market"]


@dataclass(frozen=True)
class Market:
    """Validated bars and what belongs to them.

    Attributes
    ----------
    bars
        Candidates only: date, ticker, open, high, low, close, volume, amount, adj_factor, f64 as
        recorded, unique and sorted by (ticker, date). Intraday bars begin with a column `ts`,
        the start of the bar in UTC (Datetime[us, UTC]), beside `date`, their session; they are
        unique and sorted by (ticker, ts).
    benchmark
        date, open, close, adjusted and sorted by date; None without a benchmark. With `ts` first
        and sorted by it where the benchmark's bars are intraday.
    volatility_index
        date, close, sorted by date; None without one.
    calendar
        The sessions of the exchange.
    quarantine
        Rows left out: ticker, date, rule, message, source.
    drops
        Counts of rows left out or mended, by reason.
    data_hash
        SHA-256 over the content of bars, benchmark, volatility index and members.
    members
        ticker, from, to: when a ticker belongs to the universe, both ends inclusive, null `to`
        for still; None: whenever it has a bar. A ticker outside its time has bars, so that its
        windows have their history, and is no candidate.
    """

    bars: pl.DataFrame
    benchmark: pl.DataFrame | None
    volatility_index: pl.DataFrame | None
    calendar: TradingCalendar
    quarantine: pl.DataFrame
    drops: dict[str, int]
    data_hash: str
    members: pl.DataFrame | None = None

    @cached_property
    def tickers(self) -> list[str]:
        """The candidates, sorted."""
        return self.bars["ticker"].unique().sort().to_list()

    @cached_property
    def last_session(self) -> date:
        """The last date of the bars; a label that needs a later one is not mature."""
        return self.bars["date"].max()  # type: ignore[return-value]

    @property
    def intraday(self) -> bool:
        """Whether the bars are shorter than a session and have a `ts`."""
        return "ts" in self.bars.columns

    @classmethod
    def from_bars(
        cls, bars: pl.DataFrame, calendar: TradingCalendar, *, members: pl.DataFrame | None = None
    ) -> Market:
        """A market of bars that keep the contract already; no index, nothing quarantined."""
        quarantine = pl.DataFrame(schema=QUARANTINE)
        mark = _content_hash(bars, None, None, members)
        return cls(bars, None, None, calendar, quarantine, {}, mark, members)

    def until(self, session: date) -> Market:
        """The market as it was known at the close of `session`: no bar, index or row left out
        is of a later one."""
        if self.last_session <= session:
            return self

        def known(frame: pl.DataFrame | None) -> pl.DataFrame | None:
            return None if frame is None else frame.filter(pl.col("date") <= session)

        bars = self.bars.filter(pl.col("date") <= session)
        benchmark, volatility = known(self.benchmark), known(self.volatility_index)
        dated = pl.col("date")
        return replace(
            self,
            bars=bars,
            benchmark=benchmark,
            volatility_index=volatility,
            quarantine=self.quarantine.filter(dated.is_null() | (dated <= session)),
            data_hash=_content_hash(bars, benchmark, volatility, self.members),
        )

    def with_bars(self, bars: pl.DataFrame) -> Market:
        """The same market with other bars of its candidates."""
        indices = (self.benchmark, self.volatility_index)
        return replace(self, bars=bars, data_hash=_content_hash(bars, *indices, self.members))

    def first_tickers(self, at_most: int | None) -> Market:
        """The market of its first tickers by name: a choice that knows no future."""
        if at_most is None or len(self.tickers) <= at_most:
            return self
        kept = self.bars.filter(pl.col("ticker").is_in(self.tickers[:at_most]))
        return replace(self, bars=kept)

    def adjusted(self) -> pl.DataFrame:
        """date, ticker, open, high, low, close, volume, amount with prices times adj_factor.

        Volume is divided by the factor, so that it counts the shares the prices are of and
        price * volume is still money; amount stays as recorded. Dividing the prices of a window
        by its last adj_factor adjusts it as of that date.
        """
        factor = pl.col("adj_factor")
        return self.bars.select(
            *(["ts"] if self.intraday else []),
            "date",
            "ticker",
            *(pl.col(name) * factor for name in PRICES),
            pl.col("volume") / factor,
            "amount",
        )


def load_market(
    data: DataSettings,
    *,
    now: datetime | None = None,
    keep_partial: bool = False,
    source: Source | None = None,
) -> Market:
    """Read, judge and complete the bars that `data` asks for.

    `source` takes the place of the one that `data` names: its rows changed, say, by an audit.

    Daily bars of the session that is open at `now` (None: the present) are partial: they are left
    out and counted, unless a live signal keeps them (`keep_partial`) to complete them by a quote.

    A null universe is every ticker of the source but the benchmark and the volatility index; a
    named one is exactly those tickers.

    Raises
    ------
    UsageError
        The source cannot be read, lacks a named ticker or index, has no bars between start and
        end, or keeps none after the rules.
    """
    calendar = TradingCalendar(data.calendar)
    if data.universe is not None and not data.universe:
        raise UsageError("data.universe is empty: name tickers, or null for every ticker")
    source = open_source(data, calendar) if source is None else source
    loaded, partial = source.fetch(wanted(data), data.start, data.end), 0
    if data.source != "simulated" and not keep_partial:
        loaded, partial = finished(loaded, calendar, now or datetime.now(UTC))
    if loaded.bars.is_empty():
        raise UsageError(nothing_found(source, data))
    check_names(data, source, loaded)
    kept, quarantined = _judged(source, loaded, data, calendar)
    kept, volume_missing = complete(kept.drop("source"))
    kept = with_factors(kept, action_factors(kept, loaded.actions))
    benchmark, lost_b = _index("data.benchmark", data.benchmark, kept, loaded, calendar)
    volatility, lost_v = _index(
        "data.volatility_index", data.volatility_index, kept, loaded, calendar
    )
    volatility = None if volatility is None else volatility.drop("open")
    bars = _candidates(source, kept, data)
    before = [] if loaded.quarantine is None else [loaded.quarantine]
    quarantine = pl.concat([*before, quarantined, lost_b, lost_v])
    members = loaded.members if loaded.members.height and data.universe is None else None
    return Market(
        bars=bars,
        benchmark=benchmark,
        volatility_index=volatility,
        calendar=calendar,
        quarantine=quarantine,
        drops=_drops(quarantine, volume_missing, bars, data, partial),
        data_hash=_content_hash(bars, benchmark, volatility, members),
        members=members,
    )


def _judged(
    source: Source, loaded: SourceData, data: DataSettings, calendar: TradingCalendar
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The bars that keep the rules, and the others; UsageError where none is kept."""
    kept, quarantined = judge(loaded.bars, calendar)
    if "ts" in kept.columns:  # a source reads whole days about the limits of intraday bars
        kept, quarantined = (between(rows, data.start, data.end) for rows in (kept, quarantined))
    if kept.is_empty():
        raise UsageError(nothing_kept(source, quarantined))
    return kept, quarantined


def _candidates(source: Source, bars: pl.DataFrame, data: DataSettings) -> pl.DataFrame:
    if data.universe is not None:
        bars = bars.filter(pl.col("ticker").is_in(data.universe))
    else:
        indices = [name for name in (data.benchmark, data.volatility_index) if name is not None]
        bars = bars.filter(~pl.col("ticker").is_in(indices)) if indices else bars
    if bars.is_empty():
        raise UsageError(
            f"{source.name}: no candidate besides the benchmark and volatility index has usable "
            "bars between data.start and data.end"
        )
    return bars.select((INTRADAY if "ts" in bars.columns else BARS).names())


def _index(
    key: str, name: str | None, kept: pl.DataFrame, loaded: SourceData, calendar: TradingCalendar
) -> tuple[pl.DataFrame | None, pl.DataFrame]:
    """Adjusted date, open, close of a benchmark or volatility index, and the rows it lost.

    The bars of a ticker were judged with the others; a series is judged here.
    """
    lost = pl.DataFrame(schema=QUARANTINE)
    if name is None:
        return None, lost
    if name in loaded.series:
        rows, lost = judge(loaded.series[name], calendar)
    else:
        rows = kept.filter(pl.col("ticker") == name)
    if rows.is_empty():
        raise UsageError(f"{key}: {name!r} has no usable bar between data.start and data.end")
    factor = pl.col("adj_factor")
    time = [name for name in ("ts", "date") if name in rows.columns]
    return rows.select(*time, pl.col("open") * factor, pl.col("close") * factor), lost


def _drops(
    quarantine: pl.DataFrame,
    volume_missing: int,
    bars: pl.DataFrame,
    data: DataSettings,
    partial: int,
) -> dict[str, int]:
    counts = quarantine["rule"].value_counts().sort("rule")
    drops = {f"quarantined: {rule}": count for rule, count in counts.iter_rows()}
    if volume_missing:
        drops["volume missing, taken as 0"] = volume_missing
    absent = len(set(data.universe or []) - set(bars["ticker"].unique()))
    if absent:
        drops["tickers of data.universe without usable bars"] = absent
    if partial:
        drops["partial bar of the open session"] = partial
    return drops


def _content_hash(
    bars: pl.DataFrame,
    benchmark: pl.DataFrame | None,
    volatility_index: pl.DataFrame | None,
    members: pl.DataFrame | None,
) -> str:
    memberships = [] if members is None else [members]
    return content_hash([bars, benchmark, volatility_index, *memberships])


def content_hash(frames: Iterable[pl.DataFrame | None]) -> str:
    """SHA-256 over names, types and values, column by column."""
    digest = hashlib.sha256()
    for frame in frames:
        if frame is None:
            digest.update(b"none")
            continue
        digest.update(repr((frame.height, frame.schema)).encode())
        for column in frame.get_columns():
            if column.dtype == pl.String:
                runs = column.rle().struct.unnest()
                digest.update(repr(runs["value"].to_list()).encode())
                column = runs["len"]
            digest.update(column.to_physical().to_numpy().tobytes())
    return digest.hexdigest()

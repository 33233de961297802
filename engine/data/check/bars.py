"""Rules about bars: those there (order, repeats, ranges), those missing, and whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from engine.calendar import TradingCalendar
from engine.data.check.findings import found, nothing
from engine.data.check.limits import (
    RangeLimits,
    SessionLimits,
    StaleLimits,
    SurvivorshipLimits,
    SymbolChange,
)
from engine.data.contract import PRICES

__all__ = [
    "extreme_range",
    "gaps",
    "missing_sessions",
    "order",
    "predecessors",
    "stale",
    "survivorship",
    "ticker_reuse",
    "zero_volume",
]


def order(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that go back in time within their source and ticker, one finding a ticker."""
    time = "ts" if "ts" in rows.columns else "date"
    back = (pl.col(time) < pl.col(time).shift(1)).over("source", "ticker")
    late = rows.filter(back & pl.col("ticker").is_not_null())
    each = late.group_by("ticker", maintain_order=True).agg(pl.col("date").first(), n=pl.len())
    return found(
        each, "order", pl.format("{} rows are before the one above; sorted on import", "n")
    )


def zero_volume(daily: pl.DataFrame) -> pl.DataFrame:
    """Bars without volume of a ticker that otherwise trades; an index never does."""
    silent = (pl.col("volume") == 0).fill_null(False)
    traded = (pl.col("volume") > 0).mean().over("ticker")
    rows = daily.filter(silent & (traded > 0.5))
    text = pl.format("volume 0, close {}", _price("close"))
    return found(rows, "zero-volume", text)


def stale(bars: pl.DataFrame, limits: StaleLimits) -> pl.DataFrame:
    """Bars that repeat the one before, bars that did not move, and runs of one close.

    A run is one finding, at its first repeated bar. `bars` have one row a (ticker, date) or ts.
    """
    last = {name: pl.col(name).shift(1).over("ticker") for name in PRICES}
    close = pl.col("close")
    repeats = pl.all_horizontal(pl.col(name) == last[name] for name in PRICES)
    still = pl.all_horizontal(pl.col(name) == last["close"] for name in PRICES)
    marked = bars.with_columns(
        _same=(close == last["close"]).fill_null(False),
        _copy=(repeats | still).fill_null(False),
    ).with_columns(_run=(~pl.col("_same")).cum_sum().over("ticker"))
    # A run begins with the bar that moved to its close: it has one more bar than repeats.
    runs = (
        marked.filter("_same")
        .group_by("ticker", "_run", maintain_order=True)
        .agg(
            pl.col("date").first(),
            close.first(),
            n=pl.len() + 1,
            copies=pl.col("_copy").sum(),
            until=pl.col("date").last(),
            first_copy=pl.col("date").filter("_copy").first(),
        )
        .filter((pl.col("n") >= limits.run) | (pl.col("copies") > 0))
    )
    long = pl.col("n") >= limits.run
    text = (
        pl.when(long)
        .then(pl.format("{} closes in a row at {}, to {}", "n", _price("close"), "until"))
        .when(pl.col("copies") > 1)
        .then(pl.format("{} bars repeat the one before, close {}", "copies", _price("close")))
        .otherwise(pl.format("the bar repeats the one before, close {}", _price("close")))
    )
    runs = runs.with_columns(date=pl.when(long).then("date").otherwise("first_copy"))
    return found(runs, "stale", text)


def extreme_range(around: pl.DataFrame, limits: RangeLimits) -> pl.DataFrame:
    """Bars whose high and low lie far apart, or far from open and close."""
    body = (pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close"))
    above, below = pl.col("high") / body[0] - 1, body[1] / pl.col("low") - 1
    spread, usual = pl.col("spread"), pl.col("usual_range")
    unusual = (spread >= limits.usual_range) & (spread >= limits.usual * usual)
    rows = around.filter(
        (spread > limits.range)
        | (pl.max_horizontal(above, below) > limits.wick)
        | unusual.fill_null(False)
    )
    text = pl.format(
        "low {} to high {}, {}% apart; open {}, close {}",
        _price("low"),
        _price("high"),
        (spread * 100).round(0).cast(pl.Int64),
        _price("open"),
        _price("close"),
    )
    return found(rows, "extreme-range", text)


def gaps(daily: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    """ticker, date (the first session missing), until (the last), n sessions, days between bars.

    `daily` has ticker and date, unique, in any order; dates that are no session are passed over.
    """
    first, last = daily["date"].min(), daily["date"].max()
    if not isinstance(first, date) or not isinstance(last, date):
        return pl.DataFrame(schema={"ticker": pl.String, "date": pl.Date, "until": pl.Date})
    days = pl.DataFrame({"date": calendar.sessions(first, last)}, schema={"date": pl.Date})
    numbered = days.with_row_index("nth").with_columns(pl.col("nth").cast(pl.Int64))
    before = pl.col("nth").shift(1).over("ticker")
    day_before = pl.col("date").shift(1).over("ticker")
    holes = (
        daily.select("ticker", "date")
        .join(numbered, on="date")
        .sort("ticker", "date")
        .with_columns(n=pl.col("nth") - before - 1, from_nth=before + 1, since=day_before)
        .filter(pl.col("n") > 0)
        .with_columns(days=(pl.col("date") - pl.col("since")).dt.total_days())
    )
    bounds = numbered.rename({"date": "day"})
    return (
        holes.select("ticker", "from_nth", "n", "days", last_nth=pl.col("nth") - 1)
        .join(bounds.rename({"nth": "from_nth", "day": "date"}), on="from_nth")
        .join(bounds.rename({"nth": "last_nth", "day": "until"}), on="last_nth")
        .sort("ticker", "date")
    )


def missing_sessions(
    holes: pl.DataFrame, daily: pl.DataFrame, limits: SessionLimits
) -> pl.DataFrame:
    """A finding for each gap of a ticker; one for all where most tickers lack the same session."""
    if holes.is_empty():
        return nothing()
    short = holes.filter(pl.col("days") <= limits.reuse_days)
    single = short.filter(pl.col("n") == 1)
    trading = daily.group_by("ticker").agg(a=pl.col("date").min(), b=pl.col("date").max())
    alike = single.group_by("date").agg(lacking=pl.len())
    alive = alike.join(trading, how="cross").filter(pl.col("date").is_between("a", "b"))
    shared = (
        alive.group_by("date")
        .agg(pl.col("lacking").first(), names=pl.len())
        .filter(pl.col("lacking") >= 2, pl.col("lacking") > limits.shared * pl.col("names"))
        .sort("date")
    )
    own = short.filter(~((pl.col("n") == 1) & pl.col("date").is_in(shared["date"].implode())))
    text = (
        pl.when(pl.col("n") == 1)
        .then(pl.format("no bar on {}", "date"))
        .otherwise(pl.format("no bar on {} sessions, {} to {}", "n", "date", "until"))
    )
    everyone = pl.format("{} of {} tickers have no bar on {}", "lacking", "names", "date")
    return pl.concat(
        [found(shared, "missing-session", everyone), found(own, "missing-session", text)]
    )


def ticker_reuse(holes: pl.DataFrame, limits: SessionLimits) -> pl.DataFrame:
    """Gaps so long that another company may have the symbol."""
    if holes.is_empty():
        return nothing()
    text = pl.format(
        "no bar from {} to {} ({} days): may be two securities under one symbol",
        "date",
        "until",
        "days",
    )
    return found(holes.filter(pl.col("days") > limits.reuse_days), "ticker-reuse", text)


def predecessors(daily: pl.DataFrame, changes: Sequence[SymbolChange]) -> pl.DataFrame:
    """Tickers with bars from before the symbol was today's security's."""
    if not changes:
        return nothing()
    known = pl.DataFrame(
        [(c.ticker, c.since, c.before) for c in changes],
        schema={"ticker": pl.String, "since": pl.Date, "before": pl.String},
        orient="row",
    )
    earlier = (
        daily.join(known, on="ticker")
        .filter(pl.col("date") < pl.col("since"))
        .group_by("ticker", "since", "before")
        .agg(pl.col("date").min(), n=pl.len())
        .sort("ticker", "since")
    )
    text = pl.format("{} bars before {} are of {}", "n", "since", "before")
    return found(earlier, "predecessor-history", text)


def survivorship(
    daily: pl.DataFrame, calendar: TradingCalendar, limits: SurvivorshipLimits
) -> pl.DataFrame:
    """One finding where fewer names end than in any real market.

    Of the US-listed names some 5 % to 8 % a year leave, by merger or failure; a file of a few per
    mille holds today's names only, and its returns are flattered (Brown, Goetzmann, Ibbotson and
    Ross, 1992).
    """
    spans = daily.group_by("ticker").agg(start=pl.col("date").min(), end=pl.col("date").max())
    last = spans["end"].max()
    if not isinstance(last, date):
        return nothing()
    first = spans["start"].min()
    assert isinstance(first, date)
    recent = calendar.sessions(first, last)[-5:]
    years = (pl.col("end") - pl.col("start")).dt.total_days().sum() / 365.25
    ended = spans.filter(pl.col("end") < (recent[0] if recent else last)).sort("end", "ticker")
    name_years, names = float(spans.select(years).item()), spans.height
    length = (last - first).days / 365.25
    if names < limits.names or length < limits.years:
        return nothing()
    if ended.height / name_years >= limits.ended_per_year:
        return nothing()
    listed = ", ".join(f"{ticker} {end}" for ticker, _, end in ended.head(10).iter_rows())
    alive = names - ended.height
    more = f" and {ended.height - 10} more" if ended.height > 10 else ""
    text = (
        f"{alive} of {names} names ({alive / names:.0%}) live to {last}, after {length:.1f} years: "
        f"returns are flattered by survivors. Ended: {listed or 'none'}{more}"
    )
    return found(pl.DataFrame({"date": [last]}), "survivorship", pl.lit(text))


def _price(name: str) -> pl.Expr:
    return pl.col(name).round_sig_figs(6)

"""The configured market and changed copies of it, each judged and completed by `load_market`.

What is changed are the rows of the source, with the actions and memberships that it keeps beside
them; everything after that is the run's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from engine.calendar import TradingCalendar
from engine.config.settings import DataSettings
from engine.data.contract import PRICES
from engine.data.market import Market, load_market
from engine.data.request import wanted
from engine.data.source import SourceData
from engine.data.sources import open_source

__all__ = ["MarketCopies"]

_STAYING = 0.75
_DAILY_NOISE = 0.05


@dataclass
class _Copy:
    """A source in memory: what another source gave, changed."""

    name: str
    loaded: SourceData
    known: list[str]
    extent: tuple[date, date] | None

    def fetch(self, tickers: object = None, start: object = None, end: object = None) -> SourceData:
        """All of it: the source it was made from has left out what was not asked for."""
        return self.loaded

    def tickers(self) -> list[str]:
        """Those of the source: one that is not listed yet is no mistake of the configuration."""
        return self.known

    def span(self) -> tuple[date, date] | None:
        """Of the source."""
        return self.extent


class MarketCopies:
    """Loads the market as it is, cut off, with another future, or with one price level changed."""

    def __init__(self, data: DataSettings) -> None:
        self._data = data
        self._source = open_source(data, TradingCalendar(data.calendar))
        self._loaded = self._source.fetch(wanted(data), data.start, data.end)
        loaded = self._loaded
        # Indices that are series of the source are changed with the rows, and parted again.
        self._series = [
            name
            for name in (data.benchmark, data.volatility_index)
            if name is not None and name in loaded.series
        ]
        rows = [
            loaded.series[name].with_columns(ticker=pl.lit(name)).select(loaded.bars.columns)
            for name in self._series
        ]
        self._rows = pl.concat([loaded.bars, *rows])
        recorded = loaded.bars.filter(pl.col("adj_factor") != 1)["ticker"].unique()
        acting = loaded.actions.filter(~pl.col("in_prices"))["ticker"].unique()
        self._by_actions = sorted(set(acting.to_list()) - set(recorded.to_list()))

    def whole(self) -> Market:
        """The market as configured."""
        return load_market(self._data)

    def truncated(self, asof: date) -> Market:
        """Nothing after `asof` exists: no bar, no action, and no membership has ended or begun."""
        return self._load(
            self._rows.filter(pl.col("date") <= asof),
            self._loaded.actions.filter(pl.col("date") <= asof),
            self._members_until(asof),
        )

    def noised(self, asof: date, *, seed: int) -> Market:
        """Everything after `asof` is another random history: prices, volumes, splits, dividends,
        memberships; a quarter of the tickers (never an index) does not trade any more."""
        rng = np.random.default_rng(seed)
        past = self._rows.filter(pl.col("date") <= asof)
        indices = {self._data.benchmark, self._data.volatility_index}
        names = sorted(set(past["ticker"].drop_nulls()) - indices)
        leaving = rng.choice(names, max(1, round(len(names) * (1 - _STAYING))), replace=False)
        future = self._rows.filter(
            pl.col("date") > asof, ~pl.col("ticker").is_in(leaving.tolist())
        ).sort("ticker", "date")
        n = future.height
        walk = pl.Series(rng.normal(0, _DAILY_NOISE, n))
        start = past.sort("date").group_by("ticker").agg(last=pl.col("close").last())
        opening, reach = rng.normal(0, 0.01, n), rng.uniform(0, 0.02, n)
        recorded = ~pl.col("ticker").is_in(self._by_actions)
        halved = pl.Series(rng.choice([0.5, 1.0], n))
        noise = (
            future.join(start, on="ticker", how="left", maintain_order="left")
            .with_columns(level=walk, open_by=opening, reach=reach)
            .with_columns(
                level=pl.col("last").fill_null(50.0)
                * pl.col("level").cum_sum().over("ticker").exp()
            )
            .with_columns(
                open=pl.col("level") * pl.col("open_by").exp(),
                close=pl.col("level"),
                volume=pl.Series(rng.lognormal(13, 1, n)).round(0),
                adj_factor=pl.col("adj_factor") * pl.when(recorded).then(halved).otherwise(1.0),
            )
            .with_columns(
                high=pl.max_horizontal("open", "close") * (1 + pl.col("reach")),
                low=pl.min_horizontal("open", "close") * (1 - pl.col("reach")),
                amount=pl.lit(None, dtype=pl.Float64),
            )
            .select(past.columns)
        )
        return self._load(
            pl.concat([past, noise]),
            pl.concat(
                [
                    self._loaded.actions.filter(pl.col("date") <= asof),
                    self._other_actions(noise, rng),
                ]
            ),
            self._other_members(asof, noise, rng),
        )

    def scaled(self, ticker: str, constant: float) -> Market:
        """The whole price history of one ticker, the money traded in it and its dividends, times a
        constant."""
        own = pl.col("ticker") == ticker
        rows = self._rows.with_columns(
            pl.when(own).then(pl.col(name) * constant).otherwise(name).alias(name)
            for name in (*PRICES, "amount")
        )
        paid = own & (pl.col("kind") == "dividend")
        value = pl.col("value")
        actions = self._loaded.actions.with_columns(
            value=pl.when(paid).then(value * constant).otherwise(value)
        )
        return self._load(rows, actions, self._loaded.members)

    def rescaled(self, ticker: str, constant: float) -> Market:
        """The whole adjusted price history of one ticker times a constant, its recorded prices
        left as they are: what a split after the last bar does."""
        own = pl.col("ticker") == ticker
        if ticker in self._by_actions:
            # A split at the first bar: a factor of its own would put the actions out of force.
            first = self._rows.filter(own)["date"].min()
            split = pl.DataFrame(
                [(ticker, first, "split", constant, False)],
                schema=self._loaded.actions.schema,
                orient="row",
            )
            actions = pl.concat([self._loaded.actions, split])
            return self._load(self._rows, actions, self._loaded.members)
        factor = pl.col("adj_factor")
        rows = self._rows.with_columns(
            adj_factor=pl.when(own).then(factor * constant).otherwise(factor)
        )
        return self._load(rows, self._loaded.actions, self._loaded.members)

    def since(self, start: date) -> Market:
        """No bar before `start` exists."""
        rows = self._rows.filter(pl.col("date") >= start)
        return self._load(rows, self._loaded.actions, self._loaded.members)

    def _members_until(self, asof: date) -> pl.DataFrame:
        """The memberships that had begun by `asof`; one that ends later has no end yet."""
        to = pl.col("to")
        members = self._loaded.members
        # None at all would mean that every ticker is a candidate: a later one says nobody is yet.
        known = members.filter(pl.col("from") <= asof)
        known = known if known.height else members.head(1)
        return known.with_columns(to=pl.when(to < asof).then(to))

    def _other_members(
        self, asof: date, future: pl.DataFrame, rng: np.random.Generator
    ) -> pl.DataFrame:
        """Those of :meth:`_members_until`, half of which end on some later day."""
        members = self._members_until(asof)
        if future.is_empty():
            return members
        ends = pl.Series(rng.choice(future["date"].to_numpy(), members.height), dtype=pl.Date)
        ending = pl.Series(rng.random(members.height) < 0.5)
        to = pl.col("to")
        return members.with_columns(to=pl.when(to.is_null() & ending).then(ends).otherwise(to))

    def _other_actions(self, future: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """A split and a dividend on random later days of each ticker that is adjusted by them."""
        rows = []
        for name in self._by_actions:
            days = future.filter(pl.col("ticker") == name)["date"].to_list()
            if days:
                split, paid = (days[i] for i in rng.integers(len(days), size=2))
                rows += [(name, split, "split", 2.0, False), (name, paid, "dividend", 0.1, False)]
        return pl.DataFrame(rows, schema=self._loaded.actions.schema, orient="row")

    def _load(self, rows: pl.DataFrame, actions: pl.DataFrame, members: pl.DataFrame) -> Market:
        index = pl.col("ticker").is_in(self._series)
        loaded = SourceData(
            bars=rows.filter(~index.fill_null(value=False)),
            series={name: rows.filter(pl.col("ticker") == name) for name in self._series},
            actions=actions,
            members=members,
        )
        copy = _Copy(self._source.name, loaded, self._source.tickers(), self._source.span())
        return load_market(self._data, source=copy)

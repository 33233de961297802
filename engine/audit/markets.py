"""The configured market and changed copies of it, each read and judged by `load_market`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from engine.calendar import TradingCalendar
from engine.config.settings import DataSettings
from engine.data.contract import PRICES
from engine.data.market import Market, load_market
from engine.data.request import requested_source, wanted
from engine.errors import UsageError

__all__ = ["MarketCopies", "market_copies"]

_STAYING = 0.75
_DAILY_NOISE = 0.05


class MarketCopies:
    """Loads the market as it is, cut off, with another future, or with one price level changed.

    The rows are those of the source; what is changed is written to a Parquet file and goes through
    the same reading, rules and completion as the source's own.
    """

    def __init__(self, data: DataSettings, folder: Path) -> None:
        self._data, self._folder = data, folder
        source = requested_source(data, TradingCalendar(data.calendar))
        loaded = source.fetch(wanted(data), data.start, data.end)
        if loaded.actions.height or loaded.members.height:
            raise UsageError(
                f"{source.name}: the audit changes bars, and cannot yet change the actions and "
                "memberships kept beside them; audit an export of the bars with adj_factor"
            )
        indices = [name for name in (data.benchmark, data.volatility_index) if name is not None]
        # An index may be a series of the source; in a file it is a ticker like others.
        series = [
            loaded.series[name].with_columns(ticker=pl.lit(name)).select(loaded.bars.columns)
            for name in indices
            if name in loaded.series
        ]
        self._rows = pl.concat([loaded.bars, *series]).drop("source")
        self._indices = indices

    def whole(self) -> Market:
        """The market as configured."""
        return load_market(self._data)

    def truncated(self, asof: date) -> Market:
        """Nothing after `asof` exists."""
        return self._load(self._rows.filter(pl.col("date") <= asof))

    def noised(self, asof: date, *, seed: int) -> Market:
        """Everything after `asof` is another random history: prices, volumes, splits; a quarter of
        the tickers (never an index) does not trade any more."""
        rng = np.random.default_rng(seed)
        past = self._rows.filter(pl.col("date") <= asof)
        names = sorted(set(past["ticker"].drop_nulls()) - set(self._indices))
        leaving = rng.choice(names, max(1, round(len(names) * (1 - _STAYING))), replace=False)
        future = self._rows.filter(
            pl.col("date") > asof, ~pl.col("ticker").is_in(leaving.tolist())
        ).sort("ticker", "date")
        n = future.height
        walk = pl.Series(rng.normal(0, _DAILY_NOISE, n))
        start = past.sort("date").group_by("ticker").agg(last=pl.col("close").last())
        opening, reach = rng.normal(0, 0.01, n), rng.uniform(0, 0.02, n)
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
                adj_factor=pl.col("adj_factor") * pl.Series(rng.choice([0.5, 1.0], n)),
            )
            .with_columns(
                high=pl.max_horizontal("open", "close") * (1 + pl.col("reach")),
                low=pl.min_horizontal("open", "close") * (1 - pl.col("reach")),
                amount=pl.lit(None, dtype=pl.Float64),
            )
            .select(past.columns)
        )
        return self._load(pl.concat([past, noise]))

    def scaled(self, ticker: str, constant: float) -> Market:
        """The whole price history of one ticker, and the money traded in it, times a constant."""
        own = pl.col("ticker") == ticker
        return self._load(
            self._rows.with_columns(
                pl.when(own).then(pl.col(name) * constant).otherwise(name).alias(name)
                for name in (*PRICES, "amount")
            )
        )

    def rescaled(self, ticker: str, constant: float) -> Market:
        """The whole adjusted price history of one ticker times a constant, its recorded prices
        left as they are: what a split after the last bar does."""
        own = pl.col("ticker") == ticker
        factor = pl.col("adj_factor")
        return self._load(
            self._rows.with_columns(
                adj_factor=pl.when(own).then(factor * constant).otherwise(factor)
            )
        )

    def since(self, start: date) -> Market:
        """Nothing before `start` exists."""
        return self._load(self._rows.filter(pl.col("date") >= start))

    def _load(self, rows: pl.DataFrame) -> Market:
        path = self._folder / "bars.parquet"
        rows.write_parquet(path)
        known = set(rows["ticker"].drop_nulls().unique())
        universe = self._data.universe
        data = self._data.model_copy(
            update={
                "source": "parquet",
                "path": path,
                "universe": None if universe is None else _known(universe, known),
            }
        )
        return load_market(data)


def _known(names: Sequence[str], known: set[str]) -> list[str]:
    """A ticker that is not listed yet is no mistake of the configuration."""
    return [name for name in names if name in known]


@contextmanager
def market_copies(data: DataSettings) -> Iterator[MarketCopies]:
    """Copies live in a temporary folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="audit-") as folder:
        yield MarketCopies(data, Path(folder))

"""A simulated market: bars, actions, listings, indices, and the truth behind them.

1. `returns.simulate_factors` draws regimes, the market and the sectors.
2. `returns.name_returns` draws each ticker's returns, with the planted part apart.
3. `planted_strength` finds how strong the plant must be for the RankIC asked for.
4. `prices` turns returns into bars, with splits, dividends and halts.

Everything runs forward in time: what is recorded up to a session is the same whatever `end` is,
and a ticker's bars are the same whatever other tickers are asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from engine.calendar import TradingCalendar
from engine.config.data import SimulatedSettings
from engine.data.contract import BARS, conform
from engine.data.simulated.draws import Randomness
from engine.data.simulated.planted import planted_strength, realised_rank_ic
from engine.data.simulated.prices import Prices, extremes, ticker_prices
from engine.data.simulated.returns import (
    YEAR,
    Factors,
    Returns,
    Traits,
    name_returns,
    simulate_factors,
    traits,
)
from engine.data.source import ACTIONS, MEMBERS, SourceData, within

__all__ = ["INDEX", "VOLATILITY", "SimulatedMarket", "SimulatedSource", "Simulation"]

INDEX, VOLATILITY = "SIMINDEX", "SIMVOL"

LISTINGS = pl.Schema(
    {
        "ticker": pl.String,
        "sector": pl.Int64,
        "listed": pl.Date,
        "last": pl.Date,
        "ending": pl.String,
    }
)

SIGNAL = pl.Schema({"date": pl.Date, "ticker": pl.String, "signal": pl.Float64})

# Larger blocks fall out of the processor's cache.
_CHUNK = 48
_ENDINGS = np.array([None, "merger", "failure"], dtype=object)


@dataclass(frozen=True)
class SimulatedMarket:
    """Bars and the truth that made them.

    Attributes
    ----------
    bars
        The columns of `contract.BARS`, sorted by (ticker, date). Prices as traded; times
        adj_factor they are the total return index.
    actions
        Splits and dividends, `source.ACTIONS`.
    listings
        ticker, sector, listed, last (its last session; null while it trades), ending (merger,
        failure or null).
    signal
        date, ticker, signal: the latent signal, known at the close of the date. Spearman(signal,
        return over the next `horizon` sessions) is on average the RankIC that was planted.
    index, volatility_index
        date, open, high, low, close of the market and of its volatility (per cent a year).
    regimes
        date, regime (0 calm, 1 usual, 2 crisis).
    horizon
        Of the planted RankIC, in sessions.
    """

    bars: pl.DataFrame
    actions: pl.DataFrame
    listings: pl.DataFrame
    signal: pl.DataFrame
    index: pl.DataFrame
    volatility_index: pl.DataFrame
    regimes: pl.DataFrame
    horizon: int

    def rank_ic(self, horizon: int | None = None) -> pl.DataFrame:
        """asof, rank_ic, n that the signal realised over `horizon` sessions (None: the planted)."""
        sessions = self.regimes["date"].to_list()
        return realised_rank_ic(self.bars, self.signal, sessions, horizon or self.horizon)

    def scores(self, horizons: Collection[int]) -> pl.DataFrame:
        """The signal as scores that a run can judge: asof, ticker, horizon, score."""
        named = self.signal.rename({"date": "asof", "signal": "score"})
        each = pl.DataFrame({"horizon": sorted(horizons)}, schema={"horizon": pl.Int32})
        return named.join(each, how="cross").select("asof", "ticker", "horizon", "score")


class Simulation:
    """The simulated market of some settings, as a whole or part by part.

    `future` replaces all random numbers from that date on by another seed's: what was before it
    must not change.
    """

    def __init__(
        self,
        settings: SimulatedSettings,
        calendar: TradingCalendar,
        *,
        future: tuple[date, int] | None = None,
    ) -> None:
        self.settings = settings
        self.sessions = calendar.sessions(settings.start, settings.end)
        cut = None
        if future is not None:
            cut = sum(day < future[0] for day in self.sessions)
        self._randomness = Randomness(settings.seed, cut, future[1] if future else 0)
        self._factors: Factors | None = None

    @property
    def tickers(self) -> list[str]:
        """Every ticker's name, sorted, whether or not it is listed within the sessions."""
        return [_name(number) for number in range(self.settings.n_tickers)]

    def run(self, tickers: Collection[str] | None = None) -> SimulatedMarket:
        """The whole market, or that of `tickers`; a name it does not have is passed over."""
        parts = list(self._chunks(tickers))
        frames: list[list[pl.DataFrame]] = [[] for _ in range(4)]
        for about, returns, prices in parts:
            for held, frame in zip(frames, self._frames(about, returns, prices), strict=True):
                held.append(frame)
        index, volatility, regimes = self.indices()
        schemas = (BARS, ACTIONS, LISTINGS, SIGNAL)
        bars, actions, listings, signal = (
            pl.concat(held) if held else pl.DataFrame(schema=schema)
            for held, schema in zip(frames, schemas, strict=True)
        )
        return SimulatedMarket(
            bars, actions, listings, signal, index, volatility, regimes, self.settings.horizon
        )

    def indices(self) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """The market index, its volatility index, and the regimes."""
        factors = self._shared()
        level = np.log(1000.0) + np.cumsum(factors.market)
        opened = level - factors.market + factors.market_night
        day = level - opened
        up, down = extremes(day, 0.7 * factors.market_sigma**2, *factors.extremes.T)
        before, percent = (
            100 * np.sqrt(YEAR) * sigma for sigma in (factors.market_sigma, factors.next_sigma)
        )
        dates = pl.Series("date", self.sessions, dtype=pl.Date)
        bars = [np.exp(x) for x in (opened, opened + up, opened + down, level)]
        vix = (before, np.maximum(before, percent), np.minimum(before, percent), percent)
        names = ("open", "high", "low", "close")
        index = pl.DataFrame({"date": dates, **dict(zip(names, bars, strict=True))})
        volatility = pl.DataFrame({"date": dates, **dict(zip(names, vix, strict=True))})
        return index, volatility, pl.DataFrame({"date": dates, "regime": factors.regime})

    def _shared(self) -> Factors:
        if self._factors is None:
            self._factors = simulate_factors(
                self._randomness, len(self.sessions), self.settings.sectors
            )
        return self._factors

    def _chunks(self, tickers: Collection[str] | None) -> Iterator[tuple[Traits, Returns, Prices]]:
        if not self.sessions:
            return
        numbers = np.arange(self.settings.n_tickers)
        if tickers is not None:
            wanted = set(tickers)
            numbers = np.array([n for n in numbers.tolist() if _name(n) in wanted], dtype=np.int64)
        strength = planted_strength(self.settings)
        factors = self._shared()
        for start in range(0, len(numbers), _CHUNK):
            part = numbers[start : start + _CHUNK]
            about = traits(self._randomness, part, self.settings)
            draws = self._randomness.tickers(part, len(self.sessions))
            returns = name_returns(about, draws, factors, self.settings)
            prices = ticker_prices(about, draws, returns, strength, self.settings.halts_per_year)
            yield about, returns, prices

    def _bars(self, about: Traits, prices: Prices) -> pl.DataFrame:
        trades = prices.trades.T
        names = ("open", "high", "low", "close", "volume")
        columns = {name: getattr(prices, name).T[trades] for name in names}
        amount = columns["volume"] * sum(columns[name] for name in names[:4]) / 4
        keys = self._keys(about, trades)
        rest = {**columns, "amount": amount, "adj_factor": prices.factor.T[trades]}
        return pl.DataFrame({"date": keys["date"], "ticker": keys["ticker"], **rest}).select(
            BARS.names()
        )

    def _frames(
        self, about: Traits, returns: Returns, prices: Prices
    ) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        trades = prices.trades.T
        signal = self._keys(about, trades).with_columns(signal=returns.signal.T[trades])
        return (
            self._bars(about, prices),
            self._actions(about, prices),
            self._listings(about, returns),
            signal,
        )

    def _keys(self, about: Traits, where: np.ndarray) -> pl.DataFrame:
        """date, ticker of the cells [tickers, sessions] that are true."""
        rows, at = np.nonzero(where)
        dates = np.array(self.sessions, dtype="datetime64[D]")
        names = pl.Series([_name(n) for n in about.number.tolist()], dtype=pl.String)
        return pl.DataFrame({"date": dates[at], "ticker": names.gather(rows)})

    def _actions(self, about: Traits, prices: Prices) -> pl.DataFrame:
        frames = []
        for kind, values in (("split", prices.splits), ("dividend", prices.dividends)):
            where = ((values > 0) & prices.trades).T
            frames.append(
                self._keys(about, where).select(
                    "ticker",
                    "date",
                    kind=pl.lit(kind),
                    value=pl.Series(values.T[where], dtype=pl.Float64),
                    in_prices=pl.lit(False),
                )
            )
        return pl.concat(frames).sort("ticker", "date").select(ACTIONS.names())

    def _listings(self, about: Traits, returns: Returns) -> pl.DataFrame:
        days, n = self.sessions, len(self.sessions)
        seen = [i for i, at in enumerate(about.listed.tolist()) if at < n]
        ends = [(days[last - 1] if last < n else None) for last in returns.last.tolist()]
        return pl.DataFrame(
            {
                "ticker": [_name(int(about.number[i])) for i in seen],
                "sector": [int(about.sector[i]) for i in seen],
                "listed": [days[int(about.listed[i])] for i in seen],
                "last": [ends[i] for i in seen],
                "ending": [_ENDINGS[returns.ending[i]] for i in seen],
            },
            schema=LISTINGS,
        )


class SimulatedSource:
    """Bars that a seed makes up: tickers S0000 …, the index SIMINDEX, its volatility SIMVOL.

    Prices are as traded, with adj_factor for splits and dividends.
    """

    name = "simulated"

    def __init__(self, settings: SimulatedSettings, calendar: TradingCalendar) -> None:
        self._simulation = Simulation(settings, calendar)

    def fetch(
        self,
        tickers: Collection[str] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> SourceData:
        """Bars, series, actions and listings from `start` to `end`; the same whichever part."""
        market = self._simulation.run(tickers)
        indices = {INDEX: market.index, VOLATILITY: market.volatility_index}
        listed = market.listings.select("ticker", pl.col("listed").alias("from"))
        members = listed.with_columns(market.listings["last"].alias("to")).cast(MEMBERS)
        return SourceData(
            bars=self._part(market.bars, start, end),
            series={name: self._part(rows, start, end, name) for name, rows in indices.items()},
            actions=within(market.actions.lazy(), tickers=None, start=start, end=end).collect(),
            members=members,
        )

    def tickers(self) -> list[str]:
        """Every ticker, also those listed only after the end."""
        return self._simulation.tickers

    def span(self) -> tuple[date, date] | None:
        """First and last session."""
        days = self._simulation.sessions
        return (days[0], days[-1]) if days else None

    def _part(
        self, bars: pl.DataFrame, start: date | None, end: date | None, ticker: str | None = None
    ) -> pl.DataFrame:
        rows = conform(bars.lazy(), source=self.name, ticker=ticker)
        return within(rows, tickers=None, start=start, end=end).collect()


def _name(number: int) -> str:
    return f"S{number:04d}"

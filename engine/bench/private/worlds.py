"""Simulated markets whose truth is known, and scores of known skill in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl

from engine.calendar import TradingCalendar
from engine.data.market import Market
from engine.data.rules import QUARANTINE
from engine.features import compute_labels, fold_of
from engine.features.factors import market_features
from engine.features.regimes import classify_regimes

__all__ = ["HORIZONS", "SKILL", "World", "make_world", "scores_of"]

HORIZONS = (5, 10, 20)
SKILL = 0.08
_WARM_UP, _YEAR, _MONTH = 380, 251, 21
# Judged dates begin with a calendar year and fill whole ones: a baseline refitted in January needs
# no more fits than there are years.
_FIRST_ASOF = date(2012, 1, 3)
_PERSISTENCE = 0.99  # a month


@dataclass(frozen=True)
class World:
    """One simulated market with everything but scores.

    Attributes
    ----------
    market
        Bars of the names; the benchmark is their equal-weight index.
    panel
        asof, ticker, horizon, labels, momentum_12m, regimes, fold; every session of the judged
        years, sorted by (asof, ticker, horizon).
    seed
        What it was drawn from.
    """

    market: Market
    panel: pl.DataFrame
    seed: int

    @cached_property
    def sessions(self) -> list[date]:
        """All sessions of the bars."""
        return self.market.bars["date"].unique().sort().to_list()

    @cached_property
    def asofs(self) -> list[date]:
        """The decision dates of the panel."""
        return self.panel["asof"].unique().sort().to_list()


def make_world(seed: int, *, names: int, years: int) -> World:
    """Independent daily returns: a common factor that names load on by 1 ± 0.3, and noise of 2 % a
    day. Nothing in it can be predicted."""
    rng = np.random.default_rng([seed, 0])
    calendar = TradingCalendar("XNYS")
    judged = years * _YEAR
    length = _WARM_UP + judged + max(HORIZONS)
    first = calendar.offset(_FIRST_ASOF, -_WARM_UP)
    sessions = calendar.sessions(first, date(2059, 1, 1))[:length]
    common = rng.normal(0.0003, 0.01, length)
    loading = rng.normal(1.0, 0.3, names)
    # Simple returns: with log returns the noise's convexity alone would beat the benchmark.
    daily = common[:, None] * loading + rng.normal(0, 0.02, (length, names))
    close = 50 * np.cumprod(1 + daily, axis=0)
    opened = close * np.exp(rng.normal(0, 0.003, close.shape))
    # An index of these very names, as a large universe's is: beside the bare common factor every
    # portfolio would carry the luck of all names on top of its own.
    index = np.cumprod(1 + daily.mean(axis=1))
    tickers = pl.Series([f"N{k:03d}" for k in range(names)])
    days = pl.Series(sessions, dtype=pl.Date)
    cell = np.arange(length * names)
    bars = pl.DataFrame(
        {
            "date": days.gather(cell // names),
            "ticker": tickers.gather(cell % names),
            "open": opened.ravel(),
            "high": np.maximum(opened, close).ravel(),
            "low": np.minimum(opened, close).ravel(),
            "close": close.ravel(),
            "volume": np.full(cell.size, 1e6),
            "amount": rng.uniform(1e7, 1e8, cell.size),
            "adj_factor": np.ones(cell.size),
        }
    ).sort("ticker", "date")
    market = Market(
        bars=bars,
        benchmark=pl.DataFrame({"date": days, "open": index, "close": index}),
        volatility_index=None,
        calendar=calendar,
        quarantine=pl.DataFrame(schema=QUARANTINE),
        drops={},
        data_hash=f"world {seed}",
    )
    asofs = sessions[_WARM_UP : _WARM_UP + judged]
    momentum = market_features(market, ["momentum_12m"]).rename({"date": "asof"})
    panel = (
        compute_labels(market, asofs, HORIZONS)
        .join(momentum, on=["asof", "ticker"], how="left")
        .join(classify_regimes(market, asofs), on="asof", how="left")
        .with_columns(fold=fold_of(), status=pl.lit("ok"))
        .sort("asof", "ticker", "horizon")
    )
    return World(market, panel, seed)


def scores_of(world: World) -> Mapping[str, np.ndarray]:
    """Scores in the order of the panel, by what is known of them.

    independent, persistent (AR(1), 0.99 a month, the same for every horizon), planted (persistent
    with a share of the label's ranks that gives an expected RankIC of 0.08 at each horizon),
    inverted (planted, turned round) and foresight (the label itself).
    """
    rng = np.random.default_rng([world.seed, 1])
    shape = (len(world.asofs), world.market.bars["ticker"].n_unique(), len(HORIZONS))
    label = world.panel["label"].to_numpy().reshape(shape)
    persistent = _persistent(rng, shape[0], shape[1])[:, :, None]
    share = _share(SKILL, shape[1])
    # Standardised over each date: the spread of 100 persistent numbers stays what it happened to be
    # for years, and with it would the skill that a fixed share of the label gives. Only the label's
    # ranks count: with its fat tails the expected RankIC would be missed.
    beside = np.sqrt(1 - share**2) * _standardised(persistent)
    planted = share * _standardised(_normal_scores(label)) + beside
    independent = np.broadcast_to(rng.normal(size=(*shape[:2], 1)), shape)
    found = {
        "independent": independent,
        "persistent": np.broadcast_to(persistent, shape),
        "planted": planted,
        "inverted": -planted,
        "foresight": label,
    }
    return {name: np.ascontiguousarray(values).ravel() for name, values in found.items()}


def _persistent(rng: np.random.Generator, dates: int, names: int) -> np.ndarray:
    """(dates, names) AR(1) of unit variance."""
    kept = _PERSISTENCE ** (1 / _MONTH)
    values = np.empty((dates, names))
    values[0] = rng.normal(size=names)
    for t in range(1, dates):
        values[t] = kept * values[t - 1] + np.sqrt(1 - kept**2) * rng.normal(size=names)
    return values


def _share(rank_ic: float, names: int) -> float:
    """Pearson correlation of a bivariate normal whose Spearman correlation, in samples of `names`,
    is expected to be `rank_ic` (Moran, 1948)."""
    from scipy.optimize import brentq

    def expected(rho: float) -> float:
        arcs = np.arcsin(rho) + (names - 2) * np.arcsin(rho / 2)
        return float(6 / (np.pi * (names + 1)) * arcs)

    return float(brentq(lambda rho: expected(rho) - rank_ic, 0.0, 0.9))


def _normal_scores(values: np.ndarray) -> np.ndarray:
    """Over the names of each date, the normal quantiles of the ranks (van der Waerden, 1952)."""
    from scipy.stats import norm, rankdata

    return norm.ppf((rankdata(values, axis=1) - 0.5) / values.shape[1])


def _standardised(values: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1 over the names of each date."""
    beside = values - values.mean(axis=1, keepdims=True)
    return beside / beside.std(axis=1, keepdims=True)

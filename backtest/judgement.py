"""What a judgement takes and what it finds: market, portfolio, rules; figures and frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import polars as pl

from .costs import Costs

__all__ = ["FactorColumns", "JudgedMarket", "Judgement", "JudgingRules", "TargetPortfolio"]


@dataclass(frozen=True)
class JudgedMarket:
    """What happened: prices that a signal is judged by.

    Attributes
    ----------
    prices
        date, ticker, open, close (adjusted), amount of every candidate.
    sessions
        All sessions of the calendar that cover the asofs, ascending.
    benchmark
        date, open, close (adjusted), or None.
    periods_per_year
        252, or 365 where every day is a session.
    """

    prices: pl.DataFrame
    sessions: tuple[date, ...]
    benchmark: pl.DataFrame | None = None
    periods_per_year: int = 252


@dataclass(frozen=True)
class TargetPortfolio:
    """What a strategy made of the scores, and how it is traded.

    Attributes
    ----------
    weights
        asof, ticker, weight; only the asofs of the judged panel are traded.
    costs
        Of trading, and the capital.
    strategy
        Its name.
    until
        Last date of the simulation; None: the last of the prices.
    rebalances
        The asofs at which the portfolio may change: churn and net excess belong to them. None: all.
    delisted_after, lot_size
        Of the simulation (:func:`backtest.simulation.portfolio.simulate`).
    """

    weights: pl.DataFrame
    costs: Costs
    strategy: str
    until: date | None = None
    rebalances: Sequence[date] | None = None
    delisted_after: int = 10
    lot_size: float = 0.0


@dataclass(frozen=True)
class FactorColumns:
    """Columns of the panel that the score is compared with; those it does not have are left out.

    Attributes
    ----------
    baselines
        Rivals: each is judged as a score on the same dates.
    redundancy
        The factor of gate 1's redundancy.
    shown
        Those with which the score's correlation is shown.
    neutral
        Those that the neutralised RankIC is free of.
    sector
        Names of groups that the neutralised RankIC is free of, or None.
    """

    baselines: Sequence[str] = ("momentum_1m", "momentum_3m", "momentum_6m", "momentum_12m")
    redundancy: str = "momentum_12m"
    shown: Sequence[str] = ()
    neutral: Sequence[str] = ("momentum_12m", "beta_252")
    sector: str | None = None


@dataclass(frozen=True)
class JudgingRules:
    """How a score is judged.

    Attributes
    ----------
    min_cross_section
        Fewest names that make a cross-section.
    top_k
        Largest K of the Top-K.
    regime_min_dates, regime_min_names
        A regime slice with fewer is thin: shown, not judged.
    factors
        What the score is compared with.
    price_forecasts
        Scores are forecasts of P(t+h)/P(t) − 1, whose size can be judged beside their order.
    describe
        False leaves out the figures that no gate asks for.
    draws, seed
        Of the bootstrap.
    """

    min_cross_section: int
    top_k: int
    regime_min_dates: int
    regime_min_names: int
    factors: FactorColumns = field(default_factory=FactorColumns)
    price_forecasts: bool = False
    describe: bool = True
    draws: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class Judgement:
    """Figures and frames for one set of dates.

    Attributes
    ----------
    metrics
        horizons, churn, cost_survival, breakeven_bps, portfolio, regimes, baselines, redundancy,
        decay, starts: the parts of ``metrics.json`` that depend on the dates; JSON-ready, None for
        what cannot be computed.
    ic
        asof, horizon, n, rank_ic, rank_ic_next_open, ic, status: dates that are ``judged`` or whose
        scores are ``constant`` (rank_ic null).
    returns
        date, gross, net, benchmark, turnover, long_exposure, short_exposure.
    churn
        asof, horizon, churn, k.
    net_excess
        asof, horizon, fold, excess, turnover, cost, net_excess.
    quantiles
        horizon, quantile (1 = lowest scores), mean_label, n.
    trades, flags
        As in :class:`backtest.simulation.portfolio.PortfolioResult`.
    sessions
        Sessions by which spacing is measured.
    first_asof, last_asof
        Of the dates with at least one score; None without any.
    """

    metrics: dict[str, Any]
    ic: pl.DataFrame
    returns: pl.DataFrame
    churn: pl.DataFrame
    net_excess: pl.DataFrame
    quantiles: pl.DataFrame
    trades: pl.DataFrame
    flags: pl.DataFrame
    sessions: tuple[date, ...]
    first_asof: date | None
    last_asof: date | None

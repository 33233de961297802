"""Judging a signal on one set of dates: every figure of ``metrics.json`` and the frames behind it.

1. ``rank_ic_frame`` gives RankIC by date and horizon and says which dates can be judged
2. ``top_members``, ``churn``, ``factor_correlation``, ``quantile_returns`` add their series
3. ``horizon_metrics`` sums a horizon up, with intervals; ``descriptive`` adds what no gate asks
4. ``simulate`` trades the weights, ``regime_table`` and ``factor_baselines`` compare
5. ``decay_table``, ``start_sensitivity``, ``redundancy_table`` look at it from other sides
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from backtest.simulation.portfolio import PortfolioResult, simulate
from backtest.statistics.baselines import factor_baselines
from backtest.statistics.churn import churn, churn_of, rank_top
from backtest.statistics.cross_sections import CrossSections
from backtest.statistics.decay import decay_table
from backtest.statistics.descriptive import descriptive
from backtest.statistics.horizon import horizon_metrics
from backtest.statistics.ic import rank_ic_frame
from backtest.statistics.net_excess import excess_after_costs, top_members
from backtest.statistics.performance import annual_return, sharpe
from backtest.statistics.quantiles import quantile_returns
from backtest.statistics.redundancy import factor_correlation, redundancy_table
from backtest.statistics.regimes import regime_table
from backtest.statistics.significance import session_spacing
from backtest.statistics.starts import start_sensitivity

from .costs import Costs

if TYPE_CHECKING:
    from backtest.gates.rules import GateRules

__all__ = ["MOMENTUM_FACTORS", "Judgement", "judge"]

MOMENTUM_FACTORS = ("momentum_1m", "momentum_3m", "momentum_6m", "momentum_12m")


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
    first_asof, last_asof, n_asofs, n_tickers
        Extent of the dates with at least one score.
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
    n_asofs: int
    n_tickers: int


def judge(
    panel: pl.DataFrame,
    weights: pl.DataFrame,
    prices: pl.DataFrame,
    *,
    sessions: Sequence[date],
    costs: Costs,
    rules: GateRules,
    until: date | None,
    strategy: str,
    min_cross_section: int,
    top_k: int,
    periods_per_year: int = 252,
    benchmark: pl.DataFrame | None = None,
    baselines: Sequence[str] = MOMENTUM_FACTORS,
    redundancy_factor: str = "momentum_12m",
    factors: Sequence[str] = (),
    neutral_factors: Sequence[str] = ("momentum_12m", "beta_252"),
    sector: str | None = None,
    price_forecasts: bool = False,
    describe: bool = True,
    rebalances: Sequence[date] | None = None,
    delisted_after: int = 10,
    lot_size: float = 0.0,
    draws: int = 1000,
    seed: int = 0,
) -> Judgement:
    """Judges the scores of ``panel`` and the portfolio of ``weights``.

    Parameters
    ----------
    panel
        One row per (asof, ticker, horizon) of the dates to judge, all statuses. Zero rows are fine.
    weights
        asof, ticker, weight; only the asofs of ``panel`` are traded.
    rebalances
        The asofs at which the portfolio may change: churn and net excess belong to them. None: all.
    prices
        date, ticker, open, close (adjusted), amount of every candidate.
    sessions
        All sessions of the calendar that cover the asofs, ascending.
    rules
        Gate rules, for the size below which a regime slice is thin.
    until
        Last date of the simulation.
    benchmark
        date, open, close (adjusted), or None.
    baselines, redundancy_factor, factors, neutral_factors, sector
        Feature columns of the panel: rivals, the factor of gate 1's redundancy, those with which
        the score's correlation is shown, and those that its neutralised RankIC is free of. Those
        that the panel does not have are left out.
    price_forecasts
        Scores are forecasts of P(t+h)/P(t) − 1, whose size can be judged beside their order.
    describe
        False leaves out the figures that no gate asks for (:mod:`backtest.statistics.descriptive`).
    delisted_after, lot_size
        Of the simulation (:func:`backtest.simulation.portfolio.simulate`).
    draws, seed
        Of the bootstrap.
    """
    scored = panel.filter(pl.col("status") == "ok", pl.col("score").is_finite())
    sessions = tuple(sessions)
    sections = CrossSections(panel)
    all_dates = rank_ic_frame(sections, min_cross_section=min_cross_section)
    judged = all_dates.filter(pl.col("status") == "judged")
    held = panel if rebalances is None else panel.filter(pl.col("asof").is_in(list(rebalances)))
    ranked = rank_top(held, top_k=top_k)
    members = top_members(held, prices, judged, sessions=sessions, top_k=top_k, ranked=ranked)
    excess = excess_after_costs(members, costs=costs)
    replaced = churn_of(ranked)
    correlation = _redundancy(sections, judged, redundancy_factor, min_cross_section)
    horizons = sorted(panel["horizon"].unique().to_list())
    summaries = {
        str(horizon): horizon_metrics(
            *(frame.filter(pl.col("horizon") == horizon) for frame in (all_dates, excess)),
            replaced=replaced.filter(pl.col("horizon") == horizon),
            correlation=correlation.filter(pl.col("horizon") == horizon),
            panel=panel,
            sessions=sessions,
            horizon=horizon,
            draws=draws,
            seed=seed,
        )
        for horizon in horizons
    }
    quantiles = quantile_returns(sections, judged)
    if describe:
        beside = descriptive(
            sections,
            judged,
            members,
            quantiles,
            costs=costs,
            sessions=sessions,
            neutral_factors=neutral_factors,
            sector=sector,
            min_cross_section=min_cross_section,
            price_forecasts=price_forecasts,
        )
        summaries = {key: figures | beside[key] for key, figures in summaries.items()}
    traded = weights.join(panel.select("asof").unique(), on="asof", how="semi")
    result = simulate(
        traded,
        prices,
        costs=costs,
        until=until,
        periods_per_year=periods_per_year,
        delisted_after=delisted_after,
        lot_size=lot_size,
    )
    returns = _with_benchmark(result.returns, benchmark)
    longest = summaries[str(horizons[-1])] if horizons else {}
    return Judgement(
        metrics=json_ready(
            {
                "horizons": summaries,
                "churn": _churn_summary(replaced, horizons)
                | {"daily_median": _daily_churn(panel, replaced, sessions, top_k=top_k)},
                "cost_survival": {key: value["cost_survival"] for key, value in summaries.items()},
                "breakeven_bps": longest.get("breakeven_bps"),
                "portfolio": _portfolio_metrics(result, returns, strategy, periods_per_year),
                "regimes": regime_table(
                    panel,
                    judged,
                    sessions=sessions,
                    min_dates=rules.regimes.min_dates,
                    min_names=rules.regimes.min_names,
                ),
                "baselines": factor_baselines(
                    sections,
                    judged,
                    factors=baselines,
                    sessions=sessions,
                    min_cross_section=min_cross_section,
                ),
                "redundancy": redundancy_table(
                    sections, judged, factors=factors, min_cross_section=min_cross_section
                ),
                "decay": decay_table(judged, sessions=sessions) if describe else [],
                "starts": start_sensitivity(
                    judged,
                    excess,
                    returns,
                    sessions=sessions,
                    periods_per_year=periods_per_year,
                )
                if describe
                else [],
            }
        ),
        ic=all_dates.filter(pl.col("status").is_in(["judged", "constant"])),
        returns=returns,
        churn=replaced,
        net_excess=excess.drop("spread_cost"),
        quantiles=quantiles,
        trades=result.trades,
        flags=result.flags,
        sessions=sessions,
        first_asof=scored["asof"].min(),  # type: ignore[arg-type]
        last_asof=scored["asof"].max(),  # type: ignore[arg-type]
        n_asofs=scored["asof"].n_unique(),
        n_tickers=scored["ticker"].n_unique(),
    )


def json_ready(value: Any) -> Any:
    """Plain Python numbers, lists and dicts; NaN and infinity become None, dates ISO strings."""
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _redundancy(
    sections: CrossSections, judged: pl.DataFrame, factor: str, min_cross_section: int
) -> pl.DataFrame:
    if factor not in sections.columns:
        return judged.clear().select("asof", "horizon", "n", correlation="rank_ic")
    return factor_correlation(sections, judged, factor=factor, min_cross_section=min_cross_section)


def _churn_summary(replaced: pl.DataFrame, horizons: list[int]) -> dict[str, Any]:
    """Between rebalances, of the longest horizon, whose score the portfolio trades."""
    longest = replaced.filter(pl.col("horizon") == (horizons[-1] if horizons else 0))
    k = longest["k"].median()
    return {
        "rebalance_median": longest["churn"].median(),
        "k": None if k is None else int(k),  # type: ignore[arg-type]
    }


def _daily_churn(
    panel: pl.DataFrame, replaced: pl.DataFrame, sessions: Sequence[date], *, top_k: int
) -> float | None:
    """Median churn from session to session, longest horizon; None without daily scores."""
    dates = panel["asof"].unique().sort()
    if dates.len() < 2 or session_spacing(dates, sessions) > 1:
        return None
    longest = pl.col("horizon") == pl.col("horizon").max()
    if replaced["asof"].n_unique() == dates.len():
        replaced = replaced.filter(longest)
    else:
        replaced = churn(panel.filter(longest), top_k=top_k)
    median = replaced["churn"].median()
    return median if isinstance(median, float) else None


def _with_benchmark(returns: pl.DataFrame, benchmark: pl.DataFrame | None) -> pl.DataFrame:
    """Adds ``benchmark``: its return over the same sessions, from the open of the first one."""
    order = ["date", "gross", "net", "benchmark", "turnover", "long_exposure", "short_exposure"]
    if benchmark is None or not returns.height:
        return returns.with_columns(benchmark=pl.lit(None, dtype=pl.Float64)).select(order)
    held = returns.join(benchmark.select("date", "open", "close"), on="date", how="left").sort(
        "date"
    )
    close = pl.col("close").forward_fill()
    before = close.shift(1).fill_null(pl.col("open"))
    return held.with_columns(benchmark=close / before - 1).select(order)


def _portfolio_metrics(
    result: PortfolioResult, returns: pl.DataFrame, strategy: str, periods_per_year: int
) -> dict[str, Any]:
    market = returns["benchmark"].drop_nulls().to_numpy()
    return {
        "strategy": strategy,
        **result.stats,
        "benchmark_return_annual": annual_return(market, periods_per_year=periods_per_year),
        "benchmark_sharpe": sharpe(market, periods_per_year=periods_per_year),
    }

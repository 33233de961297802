"""Judging a signal on one set of dates: every figure of ``metrics.json`` and the frames behind it.

1. ``_series`` measures each date: RankIC, Top-K and its net excess, churn, correlation, quantiles
2. ``_horizons`` sums them up by horizon, with intervals
3. ``_trade`` simulates the target weights
4. ``_metrics`` puts both beside regimes, known factors, decay and later starts
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from .costs import Costs
from .judgement import JudgedMarket, Judgement, JudgingRules, TargetPortfolio
from .simulation.portfolio import PortfolioResult, simulate
from .statistics.churn import churn, rank_top
from .statistics.cross_sections import CrossSections
from .statistics.factors import (
    factor_baselines,
    factor_correlation,
    neutral_rank_ic,
    redundancy_table,
)
from .statistics.horizons import JudgedSeries, descriptive_figures, horizon_figures
from .statistics.ic import rank_ic_frame
from .statistics.net_excess import excess_after_costs, top_members
from .statistics.performance import annual_return, sharpe
from .statistics.quality import forecast_quality
from .statistics.quantiles import quantile_returns
from .statistics.significance import session_spacing
from .statistics.stability import decay_table, regime_table, start_sensitivity

__all__ = ["json_ready", "judge"]

_RETURNS = ["date", "gross", "net", "benchmark", "turnover", "long_exposure", "short_exposure"]


def judge(
    panel: pl.DataFrame, portfolio: TargetPortfolio, market: JudgedMarket, rules: JudgingRules
) -> Judgement:
    """Judges the scores of a panel and the portfolio made of them.

    ``panel`` has one row per (asof, ticker, horizon) of the dates to judge, with any status; none
    at all is fine.
    """
    sections = CrossSections(panel)
    series = _series(sections, portfolio, market, rules)
    result = _trade(panel, portfolio, market)
    returns = _with_benchmark(result.returns, market.benchmark)
    horizons = _horizons(sections, series, portfolio.costs, market, rules)
    metrics = {
        "horizons": horizons,
        **_trading_metrics(panel, series, horizons, market, rules),
        "portfolio": _portfolio_metrics(result, returns, portfolio.strategy, market),
        **_comparisons(sections, series, returns, market, rules),
    }
    asofs = panel.filter(pl.col("status") == "ok", pl.col("score").is_finite())["asof"]
    return Judgement(
        metrics=json_ready(metrics),
        ic=series.dates.filter(pl.col("status").is_in(["judged", "constant"])),
        returns=returns,
        churn=series.churn,
        net_excess=series.excess,
        quantiles=series.quantiles,
        trades=result.trades,
        flags=result.flags,
        sessions=market.sessions,
        first_asof=asofs.min(),  # type: ignore[arg-type]
        last_asof=asofs.max(),  # type: ignore[arg-type]
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


def _series(
    sections: CrossSections, portfolio: TargetPortfolio, market: JudgedMarket, rules: JudgingRules
) -> JudgedSeries:
    """Every series; Top-K, net excess and churn at the rebalances only."""
    smallest, factor = rules.min_cross_section, rules.factors.redundancy
    dates = rank_ic_frame(sections, min_cross_section=smallest)
    judged = dates.filter(pl.col("status") == "judged")
    held = sections.frame
    if portfolio.rebalances is not None:
        held = held.filter(pl.col("asof").is_in(list(portfolio.rebalances)))
    ranked = rank_top(held, top_k=rules.top_k)
    members = top_members(ranked, market.prices, judged, sessions=market.sessions)
    if factor in sections.columns:
        alike = factor_correlation(sections, judged, factor=factor, min_cross_section=smallest)
    else:
        alike = judged.clear().select("asof", "horizon", "n", correlation="rank_ic")
    return JudgedSeries(
        dates=dates,
        members=members,
        excess=excess_after_costs(members, costs=portfolio.costs),
        churn=churn(ranked),
        correlation=alike,
        quantiles=quantile_returns(sections, judged),
    )


def _horizons(
    sections: CrossSections,
    series: JudgedSeries,
    costs: Costs,
    market: JudgedMarket,
    rules: JudgingRules,
) -> dict[str, dict[str, Any]]:
    """Horizon → figures, shortest first."""
    folds = sections.frame.select("asof", "fold").unique("asof")
    free_of, neutral = _neutral(sections, series.judged, rules)
    quality = forecast_quality(sections.frame) if rules.price_forecasts else {}
    found = {}
    for horizon in sections.keys["horizon"].unique().sort().to_list():
        own, span = series.at(horizon), {"horizon": horizon, "sessions": market.sessions}
        beside = (
            descriptive_figures(
                own,
                costs=costs,
                neutral=neutral,
                neutral_factors=free_of,
                forecast=quality.get(str(horizon)),
                **span,
            )
            if rules.describe
            else {}
        )
        figures = horizon_figures(
            own, folds, costs=costs, draws=rules.draws, seed=rules.seed, **span
        )
        found[str(horizon)] = figures | beside
    return found


def _neutral(
    sections: CrossSections, judged: pl.DataFrame, rules: JudgingRules
) -> tuple[list[str], pl.DataFrame | None]:
    """Columns that the neutralised RankIC is free of, and its series where it is asked for."""
    factors = [name for name in rules.factors.neutral if name in sections.columns]
    sector = rules.factors.sector if rules.factors.sector in sections.columns else None
    names = [*factors, *([sector] if sector else [])]
    if not names or not rules.describe:
        return names, None
    smallest = rules.min_cross_section
    return names, neutral_rank_ic(
        sections, judged, factors=factors, sector=sector, min_cross_section=smallest
    )


def _trade(
    panel: pl.DataFrame, portfolio: TargetPortfolio, market: JudgedMarket
) -> PortfolioResult:
    return simulate(
        portfolio.weights.join(panel.select("asof").unique(), on="asof", how="semi"),
        market.prices,
        costs=portfolio.costs,
        until=portfolio.until,
        periods_per_year=market.periods_per_year,
        delisted_after=portfolio.delisted_after,
        lot_size=portfolio.lot_size,
    )


def _trading_metrics(
    panel: pl.DataFrame,
    series: JudgedSeries,
    horizons: dict[str, dict[str, Any]],
    market: JudgedMarket,
    rules: JudgingRules,
) -> dict[str, Any]:
    """churn, cost_survival, breakeven_bps: of the longest horizon, whose score is traded."""
    longest = next(reversed(horizons), "0")
    replaced = series.churn.filter(pl.col("horizon") == int(longest))
    k: Any = replaced["k"].median()
    return {
        "churn": {
            "rebalance_median": replaced["churn"].median(),
            "k": None if k is None else int(k),
            "daily_median": _daily_churn(panel, series.churn, market.sessions, top_k=rules.top_k),
        },
        "cost_survival": {key: figures["cost_survival"] for key, figures in horizons.items()},
        "breakeven_bps": horizons.get(longest, {}).get("breakeven_bps"),
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
        replaced = churn(rank_top(panel.filter(longest), top_k=top_k))
    median = replaced["churn"].median()
    return median if isinstance(median, float) else None


def _with_benchmark(returns: pl.DataFrame, benchmark: pl.DataFrame | None) -> pl.DataFrame:
    """Adds ``benchmark``: its return over the same sessions, from the open of the first one."""
    if benchmark is None or not returns.height:
        return returns.with_columns(benchmark=pl.lit(None, dtype=pl.Float64)).select(_RETURNS)
    held = returns.join(benchmark.select("date", "open", "close"), on="date", how="left").sort(
        "date"
    )
    close = pl.col("close").forward_fill()
    before = close.shift(1).fill_null(pl.col("open"))
    return held.with_columns(benchmark=close / before - 1).select(_RETURNS)


def _portfolio_metrics(
    result: PortfolioResult, returns: pl.DataFrame, strategy: str, market: JudgedMarket
) -> dict[str, Any]:
    benchmark, year = returns["benchmark"].drop_nulls().to_numpy(), market.periods_per_year
    return {
        "strategy": strategy,
        **result.stats,
        "benchmark_return_annual": annual_return(benchmark, periods_per_year=year),
        "benchmark_sharpe": sharpe(benchmark, periods_per_year=year),
    }


def _comparisons(
    sections: CrossSections,
    series: JudgedSeries,
    returns: pl.DataFrame,
    market: JudgedMarket,
    rules: JudgingRules,
) -> dict[str, Any]:
    """regimes, baselines, redundancy, decay, starts."""
    judged, sessions, smallest = series.judged, market.sessions, rules.min_cross_section
    year = market.periods_per_year
    return {
        "regimes": regime_table(
            sections.frame,
            judged,
            sessions=sessions,
            min_dates=rules.regime_min_dates,
            min_names=rules.regime_min_names,
        ),
        "baselines": factor_baselines(
            sections,
            judged,
            factors=rules.factors.baselines,
            sessions=sessions,
            min_cross_section=smallest,
        ),
        "redundancy": redundancy_table(
            sections, judged, factors=rules.factors.shown, min_cross_section=smallest
        ),
        "decay": decay_table(judged, sessions=sessions) if rules.describe else [],
        "starts": start_sensitivity(
            judged, series.excess, returns, sessions=sessions, periods_per_year=year
        )
        if rules.describe
        else [],
    }

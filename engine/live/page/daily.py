"""The figures of a day, from frames, and what to be alarmed about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np
import polars as pl

from backtest.costs import Costs
from backtest.statistics.significance import MeanInterval, mean_interval
from engine.data.market import Market
from engine.live.orders import FILLS
from engine.live.page.tracking import (
    Standing,
    against_backtest,
    live_rank_ic,
    returns_since,
    slippage,
)

__all__ = ["Daily", "daily"]


@dataclass(frozen=True)
class Daily:
    """The figures of a day.

    Attributes
    ----------
    session
        The day that has closed.
    signalled
        Session of the last signals before it; None before the first.
    outcome
        `tracking.returns_since` of those signals.
    outcome_ic
        Spearman correlation of their scores and returns so far; None where unknown.
    hits
        Share of held names that went the way of their weight; None without any.
    book
        Σ weight × return of those signals' targets, before costs; None without any.
    ic
        `tracking.live_rank_ic`.
    standing
        Live RankIC beside the backtest's, at the signals' horizon; None before the first.
    fills
        `tracking.slippage`.
    cost
        Mean slippage a fill, basis points, with a 95% interval over days.
    assumed_bps
        The backtest's cost of those fills, weighted by value; None without fills.
    against
        What slippage is counted from, the session's open or the decision's price.
    fallbacks
        Signals that the fallback made.
    alerts
        What a person should look at, in sentences.
    """

    session: date
    signalled: date | None
    outcome: pl.DataFrame
    outcome_ic: float | None
    hits: float | None
    book: float | None
    ic: pl.DataFrame
    standing: Standing | None
    fills: pl.DataFrame
    cost: MeanInterval
    assumed_bps: float | None
    against: Literal["open", "decision"]
    fallbacks: int
    alerts: tuple[str, ...]


def daily(
    history: pl.DataFrame,
    market: Market,
    fills: pl.DataFrame,
    *,
    metrics: dict[str, Any] | None,
    costs: Costs,
    min_cross_section: int,
    min_dates: int,
    min_fills: int,
    against: Literal["open", "decision"] = "open",
) -> Daily:
    """The figures at the market's last session; nothing later is in any of the frames.

    `history` holds `tracking.HISTORY`, `fills` `tracking.FILLS`, `metrics` the backtest's
    `metrics.json` or None; `against` is that of `tracking.slippage`.
    """
    session = market.last_session
    fills = fills.select(FILLS.names()).cast(FILLS).filter(pl.col("session") <= session)
    history = history.filter(pl.col("asof") <= session)
    before = history.filter(pl.col("asof") < session)
    signalled = before["asof"].max() if before.height else None
    outcome = before.clear().with_columns(pl.lit(None, dtype=pl.Float64).alias("return"))
    standing = None
    ic = live_rank_ic(history, market, min_cross_section=min_cross_section)
    if isinstance(signalled, date):
        outcome = returns_since(before, market, signalled)
        horizon = int(before.filter(pl.col("asof") == signalled)["horizon"][0])
        standing = against_backtest(ic, metrics, market, horizon=horizon, min_dates=min_dates)
    paid = slippage(fills, market, costs, against=against)
    cost, assumed = _cost(paid)
    outcome_ic, hits, book = _went(outcome)
    fallback = history.filter(pl.col("fallback"))["asof"].n_unique()
    return Daily(
        session=session,
        signalled=signalled if isinstance(signalled, date) else None,
        outcome=outcome,
        outcome_ic=outcome_ic,
        hits=hits,
        book=book,
        ic=ic,
        standing=standing,
        fills=paid,
        cost=cost,
        assumed_bps=assumed,
        against=against,
        fallbacks=fallback,
        alerts=tuple(_alerts(history, session, standing, paid, cost, assumed, min_fills)),
    )


def _went(outcome: pl.DataFrame) -> tuple[float | None, float | None, float | None]:
    """Rank correlation of scores and returns, share of held names that went their way, and the
    return of what was held; None where unknown."""
    known = outcome.filter(pl.col("return").is_finite())
    held = known.filter(pl.col("target_weight") != 0)
    moved = held.filter(pl.col("return") != 0)
    ic = pl.corr("score", "return", method="spearman")
    right = pl.col("target_weight").sign() == pl.col("return").sign()
    book = (pl.col("target_weight") * pl.col("return")).sum()
    return (
        _finite(known.select(ic).item()) if known.height >= 3 else None,
        _finite(moved.select(right.mean()).item()),
        _finite(held.select(book).item()) if held.height else None,
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _cost(paid: pl.DataFrame) -> tuple[MeanInterval, float | None]:
    """Mean over days of the value-weighted slippage, and the assumed cost of the same fills."""
    known = paid.filter(pl.col("slippage_bps").is_finite(), pl.col("value") > 0)
    weighted = [
        ((pl.col(name) * pl.col("value")).sum() / pl.col("value").sum()).alias(name)
        for name in ("slippage_bps", "assumed_bps")
    ]
    days = known.group_by("session").agg(weighted).sort("session")
    cost = mean_interval(days["slippage_bps"].to_numpy(), horizon=1, spacing=1.0)
    mean = days["assumed_bps"].mean()
    return cost, mean if isinstance(mean, float) else None


def _alerts(
    history: pl.DataFrame,
    session: date,
    standing: Standing | None,
    paid: pl.DataFrame,
    cost: MeanInterval,
    assumed: float | None,
    min_fills: int,
) -> list[str]:
    said = []
    if standing is not None and standing.verdict == "outside":
        reading = (
            "live's own interval still holds the backtest's mean, so it may be chance"
            if standing.chance
            else "live's own interval does not hold the backtest's mean: more than chance"
        )
        said.append(
            f"Live RankIC {standing.live.mean:+.3f} over {standing.live.n} dates has left the "
            f"backtest's interval {standing.lo:+.3f} to {standing.hi:+.3f} (horizon "
            f"{standing.horizon}); {reading}."
        )
    known = assumed is not None and cost.lo is not None and paid.height >= min_fills
    if known and cost.lo > assumed:  # type: ignore[operator]
        said.append(
            f"Slippage {cost.mean:.1f} bps a trade is above the {assumed:.1f} bps that the "
            f"backtest assumes, by more than chance over {cost.n} days."
        )
    today = history.filter(pl.col("asof") == session, pl.col("fallback"))
    if today.height:
        said.append(f"The signals of {session} are the fallback's ({today['forecaster'][0]}).")
    return said

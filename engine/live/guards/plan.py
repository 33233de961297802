"""Guards of a plan: its configuration and model, scores, target weights, orders."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import polars as pl

from engine.live.guards.event import GuardEvent, listed, tripped
from engine.live.orders import PlannedOrder

__all__ = [
    "bad_scores",
    "config_changed",
    "gross_limit",
    "model_changed",
    "name_limit",
    "order_count",
    "turnover_limit",
]

_EPSILON = 1e-9


def config_changed(before: str | None, now: str, acknowledged: Collection[str]) -> list[GuardEvent]:
    """The configuration's hash differs from the last plan's, and nobody acknowledged it."""
    what = "the configuration changed since the last plan"
    return _changed("config_changed", what, before, now, acknowledged)


def model_changed(
    before: str | None, now: str, acknowledged: Collection[str], *, forecaster: str
) -> list[GuardEvent]:
    """The forecaster's hash differs from its last one, and nobody acknowledged it."""
    what = f"{forecaster} is another model than at its last plan"
    return _changed("model_changed", what, before, now, acknowledged)


def _changed(
    guard: str, what: str, before: str | None, now: str, acknowledged: Collection[str]
) -> list[GuardEvent]:
    if before is None or before == now or now in acknowledged:
        return []
    how = "if that is meant, say so: python -m engine.live acknowledge"
    return tripped(guard, f"{what} ({before[:12] or 'none'} to {now[:12] or 'none'}); {how}")


def bad_scores(scores: pl.DataFrame, *, max_abs: float) -> list[GuardEvent]:
    """`scores` (ticker, score) holds NaN, an infinity, or a score beyond ±`max_abs`.

    A null score is a name that was left out, and no matter; no score at all is.
    """
    known = scores.filter(pl.col("score").is_not_null())
    if known.is_empty():
        return tripped("bad_scores", "no name has a score")
    broken = known.filter(~pl.col("score").is_finite())["ticker"].unique().sort().to_list()
    if broken:
        return tripped("bad_scores", f"scores that are no numbers: {listed(broken)}", broken)
    extreme = known.filter(pl.col("score").abs() > max_abs).sort("ticker")
    if extreme.is_empty():
        return []
    shown = [f"{ticker} {score:+.3g}" for ticker, score in extreme["ticker", "score"].iter_rows()]
    return tripped(
        "bad_scores",
        f"scores beyond live.guards.max_abs_score {max_abs:g}: {listed(shown)}",
        extreme["ticker"].unique().to_list(),
    )


def gross_limit(weights: Mapping[str, float], *, limit: float) -> list[GuardEvent]:
    """Σ|w| is above the limit."""
    gross = sum(map(abs, weights.values()))
    if gross <= limit + _EPSILON:
        return []
    return tripped(
        "gross", f"target weights add up to {gross:.4g}; live.guards.max_gross is {limit:g}"
    )


def name_limit(weights: Mapping[str, float], *, limit: float) -> list[GuardEvent]:
    """A name's |w| is above the limit."""
    above = {name: w for name, w in sorted(weights.items()) if abs(w) > limit + _EPSILON}
    if not above:
        return []
    shown = [f"{name} {weight:+.4g}" for name, weight in above.items()]
    return tripped(
        "name_weight",
        f"target weights beyond live.guards.max_name_weight {limit:g}: {listed(shown)}",
        list(above),
    )


def turnover_limit(
    orders: Sequence[PlannedOrder], equity: float, *, limit: float
) -> list[GuardEvent]:
    """Σ|order value| / 2 / equity is above the limit."""
    if equity <= 0:
        return tripped("turnover", f"the account's equity is {equity:,.2f}: nothing to trade with")
    traded = sum(planned.order.quantity * planned.reference for planned in orders)
    turnover = traded / 2 / equity
    if turnover <= limit + _EPSILON:
        return []
    return tripped(
        "turnover",
        f"the orders would turn over {turnover:.4g} of equity; "
        f"live.guards.max_turnover is {limit:g}",
    )


def order_count(orders: Sequence[PlannedOrder], *, limit: int) -> list[GuardEvent]:
    """More orders than allowed."""
    if len(orders) <= limit:
        return []
    return tripped("order_count", f"{len(orders)} orders; live.guards.max_orders is {limit}")

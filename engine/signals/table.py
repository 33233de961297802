"""The signals table: who is ranked where, what is wanted of it, and why others are left out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from engine.data.market import Market
from engine.data.membership import is_member
from engine.scoring.plan import NO_BAR

__all__ = ["SIGNALS", "signals_table"]

SIGNALS = pl.Schema(
    {
        "asof": pl.Date,
        "ticker": pl.String,
        "rank": pl.Int32,
        "score": pl.Float64,
        "p_up": pl.Float64,
        "q05": pl.Float64,
        "q50": pl.Float64,
        "q95": pl.Float64,
        "target_weight": pl.Float64,
        "change": pl.Float64,
        "reason": pl.String,
    }
)
UNSEEN = "no bar in the last ten sessions"


def signals_table(
    scores: pl.DataFrame,
    weights: pl.DataFrame,
    market: Market,
    asof: date,
    *,
    horizon: int,
    universe: list[str] | None = None,
    refused: Mapping[str, str] | None = None,
    previous: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """One row a name: the scored ones by rank, then those left out by name.

    Parameters
    ----------
    scores
        The scores table; rows of `asof` and `horizon` are read.
    weights
        asof, ticker, weight as decided at `asof`.
    market
        Bars up to `asof`, with its quarantine and members.
    horizon
        Horizon in sessions that the strategy ranks by.
    universe
        Names that were asked for; one without any bar is left out with that reason.
    refused
        Reasons of names whose quote was not used.
    previous
        ticker, weight of the last target; None: nothing was held.

    Returns
    -------
    pl.DataFrame
        The columns of `SIGNALS`. A name left out has no rank and the weight 0, because what is not
        scored is not held; `change` is target_weight − previous weight.
    """
    rows = scores.filter(pl.col("asof") == asof, pl.col("horizon") == horizon)
    ok = pl.col("status") == "ok"
    ranked = (
        rows.filter(ok)
        .sort(["score", "ticker"], descending=[True, False], nulls_last=True)
        .with_columns(rank=pl.int_range(1, pl.len() + 1), reason=pl.lit(None, dtype=pl.String))
    )
    known = set(ranked["ticker"])
    reasons = _reasons(rows.filter(~ok), market, asof, universe or [])
    reasons |= dict(refused or {})
    before = {} if previous is None else dict(previous.select("ticker", "weight").iter_rows())
    reasons |= {name: UNSEEN for name in before if name not in known and name not in reasons}
    left_out = pl.DataFrame(
        [(name, reasons[name]) for name in sorted(reasons) if name not in known],
        schema={"ticker": pl.String, "reason": pl.String},
        orient="row",
    )
    table = pl.concat([ranked, left_out], how="diagonal_relaxed")
    wanted = weights.filter(pl.col("asof") == asof).select("ticker", target_weight="weight")
    held = pl.DataFrame(
        {"ticker": list(before), "before": list(before.values())},
        schema={"ticker": pl.String, "before": pl.Float64},
    )
    return (
        table.with_columns(asof=pl.lit(asof))
        .join(wanted, on="ticker", how="left", maintain_order="left")
        .join(held, on="ticker", how="left", maintain_order="left")
        .with_columns(pl.col("target_weight", "before").fill_null(0.0))
        .with_columns(change=pl.col("target_weight") - pl.col("before"))
        .select(SIGNALS.names())
        .cast(SIGNALS)
    )


def _reasons(rows: pl.DataFrame, market: Market, asof: date, universe: list[str]) -> dict[str, str]:
    """Why names have no score: the nearest cause there is."""
    bars = set(market.tickers)
    reasons = {name: UNSEEN if name in bars else "no usable bar" for name in universe}
    today = market.bars.filter(pl.col("date") == asof).select("ticker", asof="date")
    if market.members is not None:
        strangers = today.filter(~is_member(today, market.members))["ticker"]
        reasons |= dict.fromkeys(strangers, "not a member of the universe")
    reasons |= dict(rows.select("ticker", "reason").iter_rows())
    broken = market.quarantine.filter(pl.col("date") == asof).select("ticker", "rule")
    candidates = (bars | set(universe)) - set(today["ticker"])
    for name, rule in broken.iter_rows():
        if name in candidates and reasons.get(name, NO_BAR) in (NO_BAR, UNSEEN):
            reasons[name] = f"bar of today quarantined: {rule}"
    return reasons

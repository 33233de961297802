"""What became of live signals, beside what the backtest promised. Pure functions on frames.

1. `read_history` lays the signals files of a folder below each other.
2. `returns_since` says what names did since a signal; `live_rank_ic` judges those that matured, by
   the backtest's own labels and RankIC.
3. `against_backtest` holds the live mean to the backtest's interval.
4. `slippage` compares fills with the open that the backtest would have filled at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from backtest.costs import ADV_SESSIONS, Costs, trade_cost_bps
from backtest.statistics.ic import information_coefficient
from backtest.statistics.significance import MeanInterval, mean_interval, session_spacing
from engine.data.market import Market
from engine.errors import UsageError
from engine.features.labels import compute_labels
from engine.live.orders import FILLS
from engine.signals.table import SIGNALS
from engine.signals.write import read_signals, signals_files

__all__ = [
    "HISTORY",
    "Standing",
    "against_backtest",
    "live_rank_ic",
    "promised",
    "read_history",
    "returns_since",
    "slippage",
]

HISTORY = pl.Schema(
    [
        *SIGNALS.items(),
        ("horizon", pl.Int32()),
        ("forecaster", pl.String()),
        ("fallback", pl.Boolean()),
    ]
)


def read_history(run_dir: Path, until: date) -> pl.DataFrame:
    """Signals written for sessions up to and with `until`: the columns of `HISTORY`.

    Raises UsageError naming a file that cannot be read.
    """
    frames = [pl.DataFrame(schema=HISTORY)]
    for day, path in sorted(signals_files(run_dir, "json").items()):
        if day > until:
            continue
        content = _json(path)
        made = content.get("forecaster") or {}
        frames.append(
            read_signals(path.with_suffix(".parquet")).with_columns(
                horizon=pl.lit(content.get("horizon"), dtype=pl.Int32),
                forecaster=pl.lit(made.get("name"), dtype=pl.String),
                fallback=pl.lit(made.get("fallback_reason") is not None),
            )
        )
    return pl.concat(frames)


def returns_since(history: pl.DataFrame, market: Market, asof: date) -> pl.DataFrame:
    """The signals of `asof` with what each name did since.

    Returns the columns of `history` and return, from its close at `asof` to its close at the
    market's last session, null where it has no bar at `asof`; the ranked names only, by rank.
    """
    ranked = history.filter(pl.col("asof") == asof, pl.col("rank").is_not_null()).sort("rank")
    ahead = len(market.calendar.sessions(asof, market.last_session)) - 1
    if ahead < 1 or ranked.is_empty():
        return ranked.with_columns(pl.lit(None, dtype=pl.Float64).alias("return"))
    labels = compute_labels(market, [asof], [ahead]).select("ticker", **{"return": "total_return"})
    return ranked.join(labels, on="ticker", how="left", maintain_order="left")


def live_rank_ic(history: pl.DataFrame, market: Market, *, min_cross_section: int) -> pl.DataFrame:
    """asof, horizon, n, rank_ic, status of every signal, as the backtest judges its scores.

    Signals of the fallback are left out: they are not what the backtest judged. A signal counts
    (status judged) once its label has matured at the market's last session.
    """
    ranked = history.filter(pl.col("rank").is_not_null(), ~pl.col("fallback"))
    if ranked.is_empty():
        kinds = {"asof": pl.Date, "horizon": pl.Int32, "n": pl.UInt32, "rank_ic": pl.Float64}
        return pl.DataFrame(schema={**kinds, "status": pl.String})
    asofs = ranked["asof"].unique().sort().to_list()
    labels = compute_labels(market, asofs, ranked["horizon"].unique().to_list())
    panel = ranked.with_columns(status=pl.lit("ok")).join(
        labels.select("asof", "ticker", "horizon", "label", "mature"),
        on=["asof", "ticker", "horizon"],
        how="left",
    )
    found = information_coefficient(
        panel.sort("asof", "ticker", "horizon"), min_cross_section=min_cross_section
    )
    return found.select("asof", "horizon", "n", "rank_ic", "status").sort("asof", "horizon")


@dataclass(frozen=True)
class Standing:
    """Live RankIC beside the backtest's.

    Attributes
    ----------
    horizon
        Of both, in sessions.
    live
        Mean over matured live dates, with its own interval.
    mean, lo, hi
        Of the backtest; None where it has none.
    verdict
        "inside" or "outside" the backtest's interval; "few" while there are fewer matured dates
        than asked for; "unknown" without an interval.
    chance
        Whether live's own interval still holds the backtest's mean.
    """

    horizon: int
    live: MeanInterval
    mean: float | None
    lo: float | None
    hi: float | None
    verdict: Literal["inside", "outside", "few", "unknown"]
    chance: bool


def promised(folder: Path) -> dict[str, Any]:
    """`metrics.json` of a finished run. Raises UsageError naming the key and the file."""
    path = folder / "metrics.json"
    if not path.is_file():
        raise UsageError(f"live.monitor.backtest: no metrics.json in {folder}")
    return _json(path)


def against_backtest(
    ic: pl.DataFrame,
    metrics: Mapping[str, Any] | None,
    market: Market,
    *,
    horizon: int,
    min_dates: int,
) -> Standing:
    """Whether the mean live RankIC of `horizon` lies in the backtest's 95% interval.

    `ic` is `live_rank_ic`'s, `metrics` the backtest's `metrics.json`. The interval of a mean says
    where the true mean may lie; a live mean over few dates strays further by chance alone, which
    is why `chance` stands beside the verdict.
    """
    judged = ic.filter(pl.col("horizon") == horizon, pl.col("status") == "judged").sort("asof")
    dates = judged["asof"].to_list()
    sessions = market.calendar.sessions(dates[0], dates[-1]) if dates else []
    spacing = session_spacing(dates, sessions)
    live = mean_interval(judged["rank_ic"].to_numpy(), horizon=horizon, spacing=spacing)
    figures = ((metrics or {}).get("horizons") or {}).get(str(horizon)) or {}
    mean, (lo, hi) = figures.get("rank_ic_mean"), figures.get("ci95") or (None, None)
    verdict: Literal["inside", "outside", "few", "unknown"]
    if lo is None or hi is None:
        verdict = "unknown"
    elif live.mean is None or live.n < min_dates:
        verdict = "few"
    else:
        verdict = "inside" if lo <= live.mean <= hi else "outside"
    chance = mean is None or live.lo is None or live.hi is None or live.lo <= mean <= live.hi
    return Standing(horizon, live, mean, lo, hi, verdict, chance)


def slippage(
    fills: pl.DataFrame,
    market: Market,
    costs: Costs,
    *,
    against: Literal["open", "decision"] = "open",
) -> pl.DataFrame:
    """Fills with what they cost beyond the price that was to be had.

    `against` the session's open, at which the backtest fills what was decided at the close before,
    or the price of the `decision`, where it was taken in the session itself.

    Returns
    -------
    pl.DataFrame
        The columns of `FILLS` and value (quantity × price), slippage_bps (paid more or sold for
        less is positive; null without that price), drift_bps from the decision's close to the
        session's open in the order's direction (null against the decision), and assumed_bps, what
        the backtest takes for a trade of the day's whole value in that name.
    """
    bars = market.bars.select(
        "ticker",
        session="date",
        session_open="open",
        adv=pl.col("amount")
        .rolling_mean(ADV_SESSIONS, min_samples=1)
        .shift(1)
        .over("ticker", order_by="date"),
        split=(pl.col("adj_factor") / pl.col("adj_factor").shift(1)).over(
            "ticker", order_by="date"
        ),
    )
    way = pl.when(pl.col("side") == "buy").then(1.0).otherwise(-1.0)
    if against == "open":
        reference = pl.col("reference") / pl.col("split").fill_null(1.0)
        expected, drift = pl.col("session_open"), pl.col("session_open") / reference - 1
    else:
        expected, drift = pl.col("reference"), pl.lit(None, dtype=pl.Float64)
    joined = (
        fills.select(FILLS.names())
        .cast(FILLS)
        .join(bars, on=["ticker", "session"], how="left", maintain_order="left")
        .with_columns(value=pl.col("quantity") * pl.col("price"))
        .with_columns(
            slippage_bps=1e4 * way * (pl.col("price") / expected - 1),
            drift_bps=1e4 * way * drift,
            whole=pl.col("value").sum().over("session", "ticker", "side"),
        )
    )
    adv = joined["adv"].cast(pl.Float64).to_numpy()
    assumed = trade_cost_bps(joined["whole"].to_numpy(), np.nan_to_num(adv), costs)
    return joined.with_columns(assumed_bps=pl.Series(assumed, dtype=pl.Float64)).drop(
        "session_open", "adv", "split", "whole"
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not readable JSON: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: must hold an object")
    return content

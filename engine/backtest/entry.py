"""The forecast bar, traded: the `entry` strategies of a run, out of sample.

1. `entry_forecasts` puts each predicted bar beside the real one of the next session, both in the
   money of the asof
2. `run_entry` trades every configured strategy on the dates after the model's training period;
   MaxDiff with offsets fitted on earlier months, less the embargo
3. `entry_returns` makes a portfolio of the trades, `entry_summary` its figures

The capital is shared equally among a session's orders, known at the asof; what is not filled stays
in cash. Nothing is held overnight, so there is no borrow.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from backtest.costs import Costs, trade_cost_bps
from backtest.grid import PriceGrid
from backtest.judge import json_ready
from backtest.simulation.entry import Offsets, net_returns, trade_bars, trade_maxdiff
from backtest.statistics.performance import performance_figures
from engine.config import Settings
from engine.data.market import Market
from engine.errors import UsageError

__all__ = [
    "EntryResult",
    "check_entry",
    "entry_forecasts",
    "entry_returns",
    "run_entry",
    "with_order_costs",
]

MAXDIFF = "maxdiff"
_BAR = ("open", "high", "low", "close")
_TRADES = ("asof", "ticker", "side", "entry", "exit", "gross", "net")

EntryTrial = tuple[dict[str, Any], pl.DataFrame]
"""Parameters of a trial, and its daily returns (date, net)."""


@dataclass(frozen=True)
class EntryResult:
    """What the entry strategies made of the predicted bars.

    Attributes
    ----------
    metrics
        Strategy → out_of_sample figures; of MaxDiff also in_sample and offsets by fold.
    trades
        strategy and the columns of `backtest.simulation.entry.trade_bars`, of orders only.
    returns
        strategy, date, gross, net.
    trials
        Every strategy and every grid point.
    """

    metrics: dict[str, Any] = field(default_factory=dict)
    trades: pl.DataFrame = field(default_factory=pl.DataFrame)
    returns: pl.DataFrame = field(default_factory=pl.DataFrame)
    trials: list[EntryTrial] = field(default_factory=list)


def check_entry(settings: Settings, market: Market, *, predicts_bars: bool) -> None:
    """Raises UsageError when the entry strategies asked for cannot be run."""
    if not settings.entry.strategies:
        return
    if not predicts_bars:
        raise UsageError(
            f"entry.strategies: {settings.model.name} predicts no open, high and low; the entry "
            "strategies need a Kronos model"
        )
    if market.intraday:
        raise UsageError("entry.strategies: need daily bars, these are intraday")


def entry_forecasts(
    levels: pl.DataFrame, prices: pl.DataFrame, sessions: Sequence[date]
) -> pl.DataFrame:
    """asof, ticker, last_close, predicted_…, open, high, low, close of the next session, and adv.

    The real bar is put into the money of the asof by the ratio of the asof's closes, so that a
    split or dividend between them moves no level. Without a bar on that very session the prices are
    null; adv (ADV20 at the asof) is null where it is not known.

    Parameters
    ----------
    levels
        asof, ticker, last_close, predicted_open, … in the money of the asof.
    prices
        date, ticker, open, high, low, close (adjusted), amount.
    sessions
        All sessions.
    """
    days = sorted(sessions)
    following = dict(itertools.pairwise(days))
    closes = prices.select(asof="date", ticker="ticker", adjusted="close")
    bars = prices.select(pl.col("date").alias("session"), "ticker", *_BAR)
    scale = pl.col("last_close") / pl.col("adjusted")
    grid = PriceGrid.from_frame(prices, tickers=levels["ticker"].unique().to_list())
    adv = pl.Series(grid.average_daily_value_at(levels["ticker"], levels["asof"]))
    return (
        levels.with_columns(
            session=pl.col("asof").replace_strict(following, default=None), adv=adv.fill_nan(None)
        )
        .join(closes, on=["asof", "ticker"], how="left")
        .join(bars, on=["session", "ticker"], how="left")
        .with_columns(pl.col(name) * scale for name in _BAR)
        .drop("session", "adjusted")
        .sort("asof", "ticker")
    )


def run_entry(
    levels: pl.DataFrame,
    market: Market,
    *,
    settings: Settings,
    costs: Costs,
    after: date | None,
    until: date,
) -> EntryResult:
    """Trades of the asofs later than `after` whose session is not later than `until`."""
    names = list(dict.fromkeys(settings.entry.strategies))
    if not names:
        return EntryResult()
    first = market.bars["date"].min()
    assert isinstance(first, date)
    sessions = market.calendar.sessions(first, until)
    inside = pl.col("asof") < until
    if after is not None:
        inside = inside & (pl.col("asof") > after)
    rows = entry_forecasts(levels.filter(inside), market.adjusted(), sessions)
    year = market.calendar.periods_per_year
    figures: dict[str, Any] = {}
    trades, daily, trials = [], [], []
    for name in names:
        found = _trade(rows, name, settings, costs, sessions, year)
        figures[name] = found.figures
        trials += found.trials
        label = pl.lit(name).alias("strategy")
        trades.append(found.trades.filter(pl.col("side") != 0).select(label, *_TRADES))
        daily.append(found.returns.select(label, "date", "gross", "net"))
    return EntryResult(json_ready(figures), pl.concat(trades), pl.concat(daily), trials)


@dataclass(frozen=True)
class _Traded:
    """One strategy; its trials end with itself."""

    figures: dict[str, Any]
    trades: pl.DataFrame
    returns: pl.DataFrame
    trials: list[EntryTrial]


def _trade(
    rows: pl.DataFrame,
    name: str,
    settings: Settings,
    costs: Costs,
    sessions: Sequence[date],
    periods_per_year: int,
) -> _Traded:
    rule = "highlow" if name == MAXDIFF else name
    priced = with_order_costs(rows, strategy=rule, costs=costs)
    parameters: dict[str, Any] = {}
    beside: Mapping[str, Any] = {}
    searched: list[EntryTrial] = []
    if name == MAXDIFF:
        parameters = settings.entry.model_dump(exclude={"strategies"})
        trades = _maxdiff_trades(priced, settings, sessions)
        # In hindsight every order counts, also those of folds that had too short a past.
        sides = trade_bars(priced, strategy=rule, round_trip_bps=0.0)["side"]
        hindsight = trades.with_columns(side=sides)
        searched = _grid_trials(priced, hindsight, settings.entry.offsets, sessions)
        beside = {
            "in_sample": _in_sample(hindsight, sessions, periods_per_year),
            "n_offsets_searched": len(searched),
            "offsets": _offsets_by_month(trades),
        }
    else:
        trades = trade_bars(priced, strategy=name, round_trip_bps=pl.col("cost_bps"))
    returns = entry_returns(trades, sessions)
    summary = entry_summary(trades, returns, periods_per_year=periods_per_year)
    own = ({"entry": name, **parameters}, returns.select("date", "net"))
    return _Traded({"out_of_sample": summary, **beside}, trades, returns, [*searched, own])


def _maxdiff_trades(
    priced: pl.DataFrame, settings: Settings, sessions: Sequence[date]
) -> pl.DataFrame:
    return trade_maxdiff(
        priced,
        grid=settings.entry.offsets,
        round_trip_bps=pl.col("cost_bps"),
        by_ticker=settings.entry.by_ticker,
        min_rows=settings.entry.min_trades,
        sessions=sessions,
        embargo=settings.embargo_sessions,
    )


def _in_sample(
    hindsight: pl.DataFrame, sessions: Sequence[date], periods_per_year: int
) -> dict[str, Any]:
    """What MaxDiff would have come to had the future been known."""
    seen = entry_returns(hindsight, sessions, net="in_sample")
    trades = hindsight.with_columns(net="in_sample")
    found = entry_summary(trades, seen, periods_per_year=periods_per_year)
    kept = ("return_annual_net", "sharpe_net", "first_date", "last_date")
    return {key: found[key] for key in kept}


def _offsets_by_month(trades: pl.DataFrame) -> list[dict[str, Any]]:
    months = trades.drop_nulls("entry_offset").group_by(
        fold=pl.col("asof").dt.truncate("1mo"), maintain_order=True
    )
    return months.agg(
        pl.col("entry_offset", "target_offset").median(), n_orders=(pl.col("side") != 0).sum()
    ).to_dicts()


def _grid_trials(
    priced: pl.DataFrame,
    hindsight: pl.DataFrame,
    offsets: Sequence[float],
    sessions: Sequence[date],
) -> list[EntryTrial]:
    """Every pair of offsets, held throughout, as a trial."""
    trials: list[EntryTrial] = []
    for pair in itertools.product(offsets, repeat=2):
        net = pl.Series("net", net_returns(priced, Offsets(*pair), pl.col("cost_bps")))
        returns = entry_returns(hindsight.with_columns(net), sessions).select("date", "net")
        trials.append(({"entry": "highlow", "offsets": list(pair)}, returns))
    return trials


def with_order_costs(forecasts: pl.DataFrame, *, strategy: str, costs: Costs) -> pl.DataFrame:
    """Adds `cost_bps`: entering and leaving, each as one trade of an equal share of the capital.

    Takes the columns of `trade_bars` and `adv`, ADV20 at the asof (null: unknown). Which
    rows are orders is the forecast's side, whether or not they are filled.
    """
    rows = forecasts.sort("asof", "ticker")
    sides = rows.select(
        "asof", side=trade_bars(rows, strategy=strategy, round_trip_bps=0.0)["side"]
    )
    orders = sides.select((pl.col("side") != 0).sum().over("asof"))["side"].to_numpy()
    value = costs.aum / np.maximum(orders, 1)
    adv = rows["adv"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return rows.with_columns(cost_bps=pl.Series(2 * trade_cost_bps(value, adv, costs)))


def entry_returns(
    trades: pl.DataFrame, sessions: Sequence[date], *, net: str = "net"
) -> pl.DataFrame:
    """date, gross, net: one row a session after the first asof, up to that after the last.

    Takes asof, ticker, side, gross and the column `net`; a session's return is the mean over its
    orders (side not 0), 0 without any.
    """
    schema = {"date": pl.Date, "gross": pl.Float64, "net": pl.Float64}
    asofs = trades["asof"].unique().sort()
    if asofs.is_empty():
        return pl.DataFrame(schema=schema)
    days = sorted(sessions)
    following = dict(itertools.pairwise(days))
    earned = (
        trades.filter(pl.col("side") != 0)
        .group_by("asof")
        .agg(pl.col("gross").mean(), net=pl.col(net).mean())
        .with_columns(date=pl.col("asof").replace_strict(following, default=None))
        .drop_nulls("date")
        .select("date", "gross", "net")
    )
    held = [day for day in days if asofs[0] < day <= following.get(asofs[-1], asofs[-1])]
    frame = pl.DataFrame({"date": held}, schema={"date": pl.Date})
    return frame.join(earned, on="date", how="left").with_columns(
        pl.col("gross", "net").fill_null(0.0)
    )


def entry_summary(
    trades: pl.DataFrame, returns: pl.DataFrame, *, periods_per_year: int
) -> dict[str, Any]:
    """Counts of orders and fills, mean return of a fill in basis points, figures of the returns."""
    orders = trades.filter(pl.col("side") != 0)
    filled = orders.filter(pl.col("entry").is_not_null())
    figures = performance_figures(
        returns["gross"], returns["net"], periods_per_year=periods_per_year
    )
    return {
        "first_date": returns["date"].min(),
        "last_date": returns["date"].max(),
        "n_sessions": returns.height,
        "n_orders": orders.height,
        "n_filled": filled.height,
        "positive_share": (filled["net"] > 0).mean(),
        "fill_gross_bps": _bps(filled["gross"]),
        "fill_net_bps": _bps(filled["net"]),
        **figures,
    }


def _bps(values: pl.Series) -> float | None:
    mean = values.mean()
    return 1e4 * mean if isinstance(mean, float) else None

"""The forecast bar, traded: the `entry` strategies of a run, out of sample.

1. `entry_forecasts` puts each predicted bar beside the real one of the next session, both in the
   money of the asof
2. `run_entry` trades every configured strategy on the dates after the model's training period;
   MaxDiff with offsets fitted on earlier months, less the embargo
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import polars as pl

from backtest.costs import Costs
from backtest.grid import PriceGrid
from backtest.judge import json_ready
from backtest.simulation.entry import Offsets, net_returns, trade_bars, trade_maxdiff
from backtest.simulation.entry_portfolio import entry_returns, entry_summary, with_order_costs
from engine.config import Settings
from engine.data.market import Market
from engine.errors import UsageError

__all__ = ["EntryResult", "check_entry", "entry_forecasts", "run_entry"]

MAXDIFF = "maxdiff"
_BAR = ("open", "high", "low", "close")


@dataclass(frozen=True)
class EntryResult:
    """What the entry strategies made of the predicted bars.

    Attributes:
        metrics: strategy → out_of_sample figures; of MaxDiff also in_sample and offsets by fold.
        trades: strategy and the columns of `backtest.simulation.entry.trade_bars`, of orders only.
        returns: strategy, date, gross, net.
        trials: parameters of every trial → its daily returns (date, net), grid points included.
    """

    metrics: dict[str, Any] = field(default_factory=dict)
    trades: pl.DataFrame = field(default_factory=pl.DataFrame)
    returns: pl.DataFrame = field(default_factory=pl.DataFrame)
    trials: list[tuple[dict[str, Any], pl.DataFrame]] = field(default_factory=list)


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

    `prices` has date, ticker, open, high, low, close (adjusted) and amount. The real bar is put
    into the money of the asof by the ratio of the asof's closes, so that a split or dividend
    between them moves no level. Without a bar on that very session the prices are null.
    """
    days = sorted(sessions)
    following = dict(itertools.pairwise(days))
    closes = prices.select(asof="date", ticker="ticker", adjusted="close")
    bars = prices.select(pl.col("date").alias("session"), "ticker", *_BAR)
    scale = pl.col("last_close") / pl.col("adjusted")
    return (
        levels.with_columns(session=pl.col("asof").replace_strict(following, default=None))
        .join(closes, on=["asof", "ticker"], how="left")
        .join(bars, on=["session", "ticker"], how="left")
        .join(_adv(prices, levels), on=["asof", "ticker"], how="left")
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
    found: dict[str, Any] = {}
    frames: list[pl.DataFrame] = []
    series: list[pl.DataFrame] = []
    trials: list[tuple[dict[str, Any], pl.DataFrame]] = []
    periods = market.calendar.periods_per_year
    for name in names:
        priced = with_order_costs(rows, strategy=_bars_of(name), costs=costs)
        if name == MAXDIFF:
            trades, extra, searched = _maxdiff(priced, settings, sessions, periods)
            trials += searched
        else:
            trades = trade_bars(priced, strategy=name, round_trip_bps=pl.col("cost_bps"))
            extra = {}
        returns = entry_returns(trades, sessions)
        figures = entry_summary(trades, returns, periods_per_year=periods)
        found[name] = {"out_of_sample": figures, **extra}
        parameters = settings.entry.model_dump(exclude={"strategies"}) if name == MAXDIFF else {}
        trials.append(({"entry": name, **parameters}, returns.select("date", "net")))
        label = pl.lit(name).alias("strategy")
        columns = ("asof", "ticker", "side", "entry", "exit", "gross", "net")
        frames.append(trades.filter(pl.col("side") != 0).select(label, *columns))
        series.append(returns.select(label, "date", "gross", "net"))
    return EntryResult(json_ready(found), pl.concat(frames), pl.concat(series), trials)


def _maxdiff(
    priced: pl.DataFrame, settings: Settings, sessions: Sequence[date], periods_per_year: int
) -> tuple[pl.DataFrame, Mapping[str, Any], list[tuple[dict[str, Any], pl.DataFrame]]]:
    """Trades, what is shown beside them, and every grid point as a trial."""
    entry, cost = settings.entry, pl.col("cost_bps")
    trades = trade_maxdiff(
        priced,
        grid=entry.offsets,
        round_trip_bps=cost,
        by_ticker=entry.by_ticker,
        min_rows=entry.min_trades,
        sessions=sessions,
        embargo=settings.embargo_sessions,
    )
    # In hindsight every order counts, also those of folds that had too short a past.
    sides = trade_bars(priced, strategy="highlow", round_trip_bps=0.0)["side"]
    hindsight = trades.with_columns(side=sides)
    seen = entry_returns(hindsight, sessions, net="in_sample")
    in_sample = entry_summary(
        hindsight.with_columns(net="in_sample"), seen, periods_per_year=periods_per_year
    )
    kept = ("return_annual_net", "sharpe_net", "first_date", "last_date")
    folds = (
        trades.drop_nulls("entry_offset")
        .group_by(fold=pl.col("asof").dt.truncate("1mo"), maintain_order=True)
        .agg(
            pl.col("entry_offset", "target_offset").median(),
            n_orders=(pl.col("side") != 0).sum(),
        )
    )
    trials = []
    for pair in itertools.product(entry.offsets, repeat=2):
        net = pl.Series("net", net_returns(priced, Offsets(*pair), cost))
        returns = entry_returns(hindsight.with_columns(net), sessions).select("date", "net")
        trials.append(({"entry": "highlow", "offsets": list(pair)}, returns))
    extra = {
        "in_sample": {key: in_sample[key] for key in kept},
        "n_offsets_searched": len(trials),
        "offsets": folds.to_dicts(),
    }
    return trades, extra, trials


def _bars_of(name: str) -> str:
    return "highlow" if name == MAXDIFF else name


def _adv(prices: pl.DataFrame, levels: pl.DataFrame) -> pl.DataFrame:
    """asof, ticker, adv: ADV20 at the asof."""
    grid = PriceGrid.from_frame(prices, tickers=levels["ticker"].unique().to_list())
    keys = levels.select("asof", "ticker")
    row = pl.Series(grid.sessions).cast(pl.Date).search_sorted(keys["asof"]).to_numpy()
    column = pl.Series(grid.tickers, dtype=pl.String).search_sorted(keys["ticker"]).to_numpy()
    return keys.with_columns(adv=pl.Series(grid.average_daily_value[row, column]).fill_nan(None))

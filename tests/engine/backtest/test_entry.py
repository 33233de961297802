"""Entry strategies of a run: forecasts beside the right bar, costs, folds, hindsight apart."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from backtest.costs import Costs
from backtest.simulation.entry import trade_bars
from engine.backtest.entry import (
    check_entry,
    entry_forecasts,
    entry_returns,
    run_entry,
    with_order_costs,
)
from engine.config import load_settings
from engine.errors import UsageError

FREE = Costs(round_trip_bps=0, impact_coefficient=0, borrow_bps_per_year=0, aum=1e6)
SPAN = (date(2019, 1, 2), date(2020, 6, 30))
D = [date(2020, 1, 2), date(2020, 1, 3), date(2020, 1, 6)]


def prices(*rows: tuple) -> pl.DataFrame:
    names = ["date", "ticker", "open", "high", "low", "close", "amount"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(
        pl.col(names[2:]).cast(pl.Float64)
    )


def levels(*rows: tuple) -> pl.DataFrame:
    names = ["asof", "ticker", "last_close", "predicted_open", "predicted_high", "predicted_low",
             "predicted_close"]  # fmt: skip
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(
        pl.col(names[2:]).cast(pl.Float64)
    )


def test_a_split_overnight_moves_no_level():
    """Recorded 100 before a 2:1 split; adjusted prices are 50 on both days."""
    bars = prices((D[0], "A", 50, 50, 50, 50, 1e6), (D[1], "A", 50, 55, 49, 54, 1e6))
    found = entry_forecasts(levels((D[0], "A", 100, 100, 108, 97, 104)), bars, D)
    assert found.select("open", "high", "low", "close").row(0) == (100, 110, 98, 108)
    trade = trade_bars(found, strategy="entry_takeprofit", round_trip_bps=0).row(0, named=True)
    assert (trade["entry"], trade["exit"]) == (100, 108)  # the high of 110 went through 108


def test_only_the_very_next_session_counts():
    bars = prices((D[0], "A", 10, 10, 10, 10, 1e6), (D[2], "A", 10, 12, 9, 11, 1e6))
    found = entry_forecasts(levels((D[0], "A", 10, 10, 11, 9, 10.5)), bars, D)
    assert found["close"].to_list() == [None]  # halted on the session after the asof
    last = entry_forecasts(levels((D[2], "A", 10, 10, 11, 9, 10.5)), bars, D)
    assert last["close"].to_list() == [None]  # no session known after it


def test_each_order_costs_two_trades_of_its_share_of_the_capital():
    bars = prices(
        *((D[0], t, 10, 10, 10, 10, 2e6) for t in "ABC"),
        *((D[1], t, 10, 12, 9, 11, 9e9) for t in "AB"),
    )
    rows = [(D[0], "A", 10, 10, 11, 9, 10.5), (D[0], "B", 10, 10, 11, 9, 9.5)]
    flat = (D[0], "C", 10, 10, 11, 9, 10.0)  # no side: takes no share
    found = entry_forecasts(levels(*rows, flat), bars, D)
    costs = Costs(round_trip_bps=10, impact_coefficient=40, borrow_bps_per_year=99, aum=1e6)
    priced = with_order_costs(found, strategy="simple", costs=costs)
    expected = 10 + 2 * 40 * np.sqrt(5e5 / 2e6)
    assert priced["cost_bps"].to_list()[:2] == pytest.approx([expected] * 2)
    trades = trade_bars(priced, strategy="simple", round_trip_bps=pl.col("cost_bps"))
    returns = entry_returns(trades, D)
    assert returns["date"].to_list() == [D[1]]
    assert returns["gross"][0] == pytest.approx((0.1 - 0.1) / 2)
    assert returns["net"][0] == pytest.approx(-expected / 1e4)


def test_sessions_without_orders_earn_nothing():
    trades = pl.DataFrame(
        {"asof": [D[0], D[1]], "ticker": ["A", "A"], "side": [0, 1], "gross": [0.0, 0.02],
         "net": [None, 0.01]},
        schema_overrides={"net": pl.Float64},
    )  # fmt: skip
    assert entry_returns(trades, D).rows() == [(D[1], 0.0, 0.0), (D[2], 0.02, 0.01)]


@pytest.fixture(scope="module")
def market(make_bars, calendar):
    bars = make_bars({f"T{n}": SPAN for n in range(8)}, seed=2)
    return market_of(bars, calendar)


def market_of(bars: pl.DataFrame, calendar) -> SimpleNamespace:
    return SimpleNamespace(
        bars=bars, calendar=calendar, intraday=False, adjusted=lambda: bars.drop("adj_factor")
    )


def predicted(market, days) -> pl.DataFrame:
    """Bars guessed at random around the last close."""
    rng = np.random.default_rng(1)
    known = market.bars.filter(pl.col("date").is_in(days)).sort("date", "ticker")
    guess = known["close"].to_numpy() * np.exp(rng.normal(0, 0.01, known.height))
    return known.select(
        asof="date",
        ticker="ticker",
        last_close="close",
        predicted_open=pl.Series(guess),
        predicted_high=pl.Series(guess * 1.012),
        predicted_low=pl.Series(guess / 1.012),
        predicted_close=pl.Series(guess),
    )


def config(*names: str, **flags: str):
    given = {"entry.strategies": ",".join(names), "scoring.horizons": "5", "entry.min_trades": "50"}
    return load_settings(given | {key.replace("__", "."): text for key, text in flags.items()})


ALL = ("simple", "all_signals", "entry_takeprofit", "highlow", "maxdiff")


def run(market, settings, levels):
    return run_entry(
        levels, market, settings=settings, costs=FREE, after=date(2019, 3, 29), until=SPAN[1]
    )


def test_every_strategy_is_traded_after_the_training_period(market, calendar):
    days = calendar.sessions(date(2019, 2, 1), SPAN[1])
    found = run(market, config(*ALL), predicted(market, days))
    assert tuple(found.metrics) == ALL
    assert found.trades["asof"].min() > date(2019, 3, 29)
    for name in ALL:
        figures = found.metrics[name]["out_of_sample"]
        assert figures["first_date"] == "2019-04-02"
        assert 0 < figures["n_filled"] <= figures["n_orders"]
        own = found.returns.filter(pl.col("strategy") == name)
        assert own["date"].n_unique() == own.height == figures["n_sessions"]
        assert ("in_sample" in found.metrics[name]) == (name == "maxdiff")
    assert found.metrics["maxdiff"]["n_offsets_searched"] == 25
    assert len(found.trials) == len(ALL) + 25


def test_in_sample_beats_out_of_sample_on_noise(market, calendar):
    days = calendar.sessions(date(2019, 2, 1), SPAN[1])
    settings = config("maxdiff", entry__by_ticker="true")
    figures = run(market, settings, predicted(market, days)).metrics["maxdiff"]
    hindsight, ahead = figures["in_sample"], figures["out_of_sample"]
    assert hindsight["return_annual_net"] > ahead["return_annual_net"] + 0.05


def test_offsets_are_fitted_on_months_before_less_the_embargo(market, calendar):
    days = calendar.sessions(date(2019, 2, 1), SPAN[1])
    few = config("maxdiff", entry__min_trades="150", evaluation__embargo_sessions="0")
    folds = run(market, few, predicted(market, days)).metrics["maxdiff"]["offsets"]
    assert folds[0]["fold"] == "2019-05-01"  # April settled 21 · 8 trades before May
    late = config("maxdiff", entry__min_trades="150", evaluation__embargo_sessions="20")
    folds = run(market, late, predicted(market, days)).metrics["maxdiff"]["offsets"]
    assert folds[0]["fold"] == "2019-06-01"


def test_the_future_as_noise_changes_no_earlier_trade(market, calendar):
    days = calendar.sessions(date(2019, 2, 1), SPAN[1])
    cut = date(2019, 11, 15)
    rng = np.random.default_rng(8)
    factor = pl.Series(rng.uniform(0.5, 2, market.bars.height))
    noise = market_of(
        market.bars.with_columns(
            pl.when(pl.col("date") > cut).then(pl.col(name) * factor).otherwise(name).alias(name)
            for name in ("open", "high", "low", "close", "amount")
        ),
        calendar,
    )
    given = predicted(market, days)
    one, two = (run(m, config(*ALL), given) for m in (market, noise))
    known = pl.col("asof") < cut  # the trade of the cut's asof is settled after it
    assert one.trades.filter(known, pl.col("strategy") == "maxdiff").height > 0
    assert one.trades.filter(known).equals(two.trades.filter(known))
    assert not one.trades.equals(two.trades)


def test_what_cannot_be_run_is_refused(market):
    with pytest.raises(UsageError, match=r"entry\.strategies: momentum predicts no open, high"):
        check_entry(config("simple", model__name="momentum"), market, predicts_bars=False)
    intraday = SimpleNamespace(intraday=True)
    with pytest.raises(UsageError, match="need daily bars"):
        check_entry(config("simple"), intraday, predicts_bars=True)
    check_entry(load_settings({}), market, predicts_bars=False)


def test_without_a_trade_there_are_figures_of_nothing(market):
    found = run(market, config(*ALL), predicted(market, []))
    assert found.metrics["maxdiff"]["out_of_sample"]["n_orders"] == 0
    assert found.trades.is_empty()

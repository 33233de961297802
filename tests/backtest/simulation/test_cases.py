"""Many portfolios in one call: the same as one at a time; whole lots; what costs must do."""

from __future__ import annotations

import itertools
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from backtest.costs import Costs
from backtest.simulation.portfolio import Case, simulate, simulate_cases

START = date(2021, 1, 1)


def market(seed: int, names: int = 6, days: int = 40) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(names):
        close = 40 * np.exp(np.cumsum(rng.normal(0, 0.03, days)))
        last = days if k else days - 15  # T0 is delisted
        for i in range(last):
            opened = close[i] * np.exp(rng.normal(0, 0.01))
            if k == 2 and 10 <= i < 14:
                continue  # halted
            rows.append((START + timedelta(days=i), f"T{k}", opened, close[i], 1e6))
    return pl.DataFrame(
        rows, schema=["date", "ticker", "open", "close", "amount"], orient="row"
    ).sort("date", "ticker")


def book(seed: int, names: int = 6, gross: float = 1.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed + 100)
    rows = []
    for i in (0, 7, 11, 12, 25, 33):
        w = rng.normal(size=names)
        w *= gross / np.abs(w).sum()
        rows += [(START + timedelta(days=i), f"T{k}", float(w[k])) for k in range(names)]
    return pl.DataFrame(rows, schema=["asof", "ticker", "weight"], orient="row")


def costs(bps: float, aum: float = 1e5, impact: float = 50.0) -> Costs:
    return Costs(round_trip_bps=bps, impact_coefficient=impact, borrow_bps_per_year=50, aum=aum)


@pytest.mark.parametrize("memory_gb", [1.0, 1e-6])
def test_a_grid_equals_its_cases_one_by_one(memory_gb):
    prices = market(0)
    books = [book(0), book(1).filter(pl.col("ticker") != "T3"), book(2).clear()]
    levels = [costs(0), costs(20), costs(20, aum=1e7)]
    cases = [Case(weights, level) for weights, level in itertools.product(books, levels)]
    together = simulate_cases(cases, prices, memory_gb=memory_gb)
    for case, found in zip(cases, together, strict=True):
        alone = simulate(case.weights, prices, costs=case.costs)
        assert found.returns.equals(alone.returns)
        assert found.trades.equals(alone.trades)
        assert found.flags.equals(alone.flags)
        assert found.stats == alone.stats


@pytest.mark.parametrize("seed", range(6))
def test_higher_costs_never_raise_the_net_return(seed):
    prices, weights = market(seed), book(seed)
    cases = [Case(weights, costs(bps)) for bps in (0, 1, 10, 50, 200)]
    totals = [r.stats["return_total_net"] for r in simulate_cases(cases, prices)]
    assert totals == sorted(totals, reverse=True)
    gross = {r.stats["return_total_gross"] for r in simulate_cases(cases, prices)}
    assert len(gross) == 1


def test_profit_is_linear_in_capital_without_impact():
    prices, weights = market(3), book(3)
    small, large = simulate_cases(
        [Case(weights, costs(10, aum=1e3, impact=0)), Case(weights, costs(10, aum=1e9, impact=0))],
        prices,
    )
    assert small.returns["net"].to_numpy() == pytest.approx(large.returns["net"].to_numpy())
    assert large.trades["value"].sum() == pytest.approx(1e6 * small.trades["value"].sum())


def test_impact_makes_more_capital_earn_less():
    prices, weights = market(4), book(4)
    small, large = simulate_cases([Case(weights, costs(10, a)) for a in (1e4, 1e7)], prices)
    assert large.stats["return_total_net"] < small.stats["return_total_net"]


def test_trades_are_whole_lots_but_for_a_delisting():
    prices, weights = market(5), book(5)
    result = simulate(weights, prices, costs=costs(10), lot_size=10, delisted_after=5)
    left = result.flags.filter(pl.col("flag") == "delisted").select("date", "ticker")
    bound = result.trades.join(left, on=["date", "ticker"], how="anti")
    assert bound.height > 10
    assert (bound["shares"] % 10).to_numpy() == pytest.approx(0, abs=1e-9)


def test_lots_beyond_the_capital_trade_nothing():
    result = simulate(book(0), market(0), costs=costs(10, aum=100.0), lot_size=100)
    assert result.trades.is_empty()
    assert result.returns["net"].abs().sum() == 0


def test_zero_signal_trades_nothing():
    weights = book(0).with_columns(weight=pl.lit(0.0))
    result = simulate(weights, market(0), costs=costs(10))
    assert result.trades.is_empty()


def test_a_negative_lot_is_refused():
    with pytest.raises(ValueError, match="lot_size"):
        simulate(book(0), market(0), costs=costs(10), lot_size=-1)

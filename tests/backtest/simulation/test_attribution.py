"""Attribution adds up to the simulated result, and each part goes where it was earned."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from backtest.costs import Costs
from backtest.simulation.attribution import attribute, holding_periods, rolling_beta
from backtest.simulation.portfolio import simulate

START = date(2020, 1, 1)


def day(i: int) -> date:
    return START + timedelta(days=i)


def bars(**series: list[float]) -> pl.DataFrame:
    rows = [
        (day(i), ticker, price, price, 1e7)
        for ticker, prices in series.items()
        for i, price in enumerate(prices)
    ]
    return pl.DataFrame(
        rows, schema=["date", "ticker", "open", "close", "amount"], orient="row"
    ).sort("date", "ticker")


def book(*rows: tuple[int, str, float]) -> pl.DataFrame:
    return pl.DataFrame(
        [(day(i), ticker, weight) for i, ticker, weight in rows],
        schema={"asof": pl.Date, "ticker": pl.String, "weight": pl.Float64},
        orient="row",
    )


COSTS = Costs(round_trip_bps=20, impact_coefficient=30, borrow_bps_per_year=200, aum=1e5)
FREE = Costs(round_trip_bps=0, impact_coefficient=0, borrow_bps_per_year=0, aum=1000.0)


def test_each_leg_gets_what_it_earned():
    prices = bars(A=[10, 10, 11, 11, 11], B=[10, 10, 10, 12, 12])
    weights = book((0, "A", 0.5), (0, "B", -0.5))
    result = simulate(weights, prices, costs=FREE)
    found = attribute(result.trades, prices, costs=FREE, sessions=result.returns["date"])
    assert found.legs.select("leg", "profit").rows() == [
        ("long", pytest.approx(0.05)),
        ("short", pytest.approx(-0.1)),
    ]
    assert found.names.select("ticker", "leg", "sessions").rows() == [
        ("A", "long", 4),
        ("B", "short", 4),
    ]


def test_a_position_that_turns_is_split_at_the_fill():
    """Long over a rise to the open of day 3, short over the fall after it."""
    prices = bars(A=[10, 10, 10, 20, 10])
    result = simulate(book((0, "A", 1.0), (2, "A", -1.0)), prices, costs=FREE)
    found = attribute(result.trades, prices, costs=FREE, sessions=result.returns["date"])
    profits = dict(found.legs.select("leg", "profit").iter_rows())
    assert profits == {"long": pytest.approx(1.0), "short": pytest.approx(1.0)}
    held = holding_periods(result.trades, result.returns["date"])
    assert held.select("leg", "sessions", "open").rows() == [("long", 2, False), ("short", 2, True)]


@pytest.mark.parametrize("seed", range(12))
def test_profits_minus_costs_are_the_change_of_equity(seed):
    rng = np.random.default_rng(seed)
    names = [f"T{i}" for i in range(5)]
    prices = bars(**{n: list(30 * np.exp(np.cumsum(rng.normal(0, 0.02, 40)))) for n in names})
    prices = prices.with_columns(
        open=pl.col("open") * pl.Series(np.exp(rng.normal(0, 0.01, prices.height)))
    )
    weights = []
    for i in (2, 9, 17, 30):
        w = rng.normal(size=5)
        weights += [(i, n, float(x)) for n, x in zip(names, w / np.abs(w).sum(), strict=True)]
    result = simulate(book(*weights), prices, costs=COSTS)
    regimes = pl.DataFrame(
        {"date": [day(i) for i in range(40)], "trend": ["bull"] * 15 + ["bear"] * 25}
    )
    found = attribute(
        result.trades, prices, costs=COSTS, sessions=result.returns["date"], regimes=regimes
    )
    # Fees leave the simulated cash; borrow is charged on returns, so it is compared by itself.
    unborrowed = Costs(round_trip_bps=20, impact_coefficient=30, borrow_bps_per_year=0, aum=1e5)
    net = simulate(book(*weights), prices, costs=unborrowed).returns["net"].to_numpy()
    legs = found.legs
    assert legs["profit"].sum() - legs["cost"].sum() == pytest.approx(
        np.prod(1 + net) - 1, abs=1e-9
    )
    assert found.names["profit"].sum() == pytest.approx(legs["profit"].sum(), abs=1e-12)
    assert found.costs["cost"].sum() == pytest.approx(
        legs["cost"].sum() + legs["borrow"].sum(), abs=1e-12
    )
    assert found.costs.filter(pl.col("kind") == "spread")["cost"][0] == pytest.approx(
        result.trades["value"].sum() * 10e-4 / 1e5, rel=1e-9
    )
    assert found.regimes["profit"].sum() == pytest.approx(legs["profit"].sum(), abs=1e-9)
    assert found.regimes["n_sessions"].sum() == result.returns.height


def test_rolling_beta_of_a_levered_benchmark():
    rng = np.random.default_rng(0)
    benchmark = rng.normal(0, 0.01, 100)
    frame = pl.DataFrame(
        {"date": [day(i) for i in range(100)], "net": 1.5 * benchmark, "benchmark": benchmark}
    )
    beta = rolling_beta(frame, window=20)["beta"]
    assert beta.null_count() == 19
    assert beta.drop_nulls().to_numpy() == pytest.approx(1.5)


def test_later_prices_change_no_earlier_beta():
    rng = np.random.default_rng(1)
    frame = pl.DataFrame(
        {
            "date": [day(i) for i in range(60)],
            "net": rng.normal(0, 0.01, 60),
            "benchmark": rng.normal(0, 0.01, 60),
        }
    )
    noised = frame.with_columns(
        pl.when(pl.col("date") > day(40)).then(0.5).otherwise("net").alias("net")
    )
    assert rolling_beta(frame, window=10).head(41).equals(rolling_beta(noised, window=10).head(41))

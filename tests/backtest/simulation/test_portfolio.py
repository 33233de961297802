"""Simulation tables (bars in, trades out) and properties that hold for any book."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtest.costs import Costs
from backtest.simulation.portfolio import simulate

START = date(2020, 1, 1)
FREE = Costs(round_trip_bps=0, impact_coefficient=0, borrow_bps_per_year=0, aum=100)


def day(i: int) -> date:
    return START + timedelta(days=i)


def bars(**series: list[tuple[float, float] | None]) -> pl.DataFrame:
    """One list a ticker of (open, close), None where there is no bar."""
    rows = [
        (day(i), ticker, bar[0], bar[1], 1e6)
        for ticker, values in series.items()
        for i, bar in enumerate(values)
        if bar is not None
    ]
    columns = ["date", "ticker", "open", "close", "amount"]
    return pl.DataFrame(rows, schema=columns, orient="row").sort("date", "ticker")


def book(*rows: tuple[int, str, float]) -> pl.DataFrame:
    return pl.DataFrame(
        [(day(i), ticker, weight) for i, ticker, weight in rows],
        schema={"asof": pl.Date, "ticker": pl.String, "weight": pl.Float64},
        orient="row",
    )


def trades(result) -> list[tuple[int, str, str, float, float]]:
    return [
        ((row[0] - START).days, row[1], row[2], round(row[3], 9), row[4])
        for row in result.trades.iter_rows()
    ]


FLAT = [(10.0, 10.0)] * 5


@pytest.mark.parametrize(
    ("prices", "weights", "expected"),
    [
        pytest.param(
            bars(A=[(10, 10), (8, 9), (9, 9)]),
            book((0, "A", 1.0)),
            [(1, "A", "buy", 12.5, 8.0)],
            id="decided at a close, filled at the next open",
        ),
        pytest.param(
            bars(A=FLAT, B=FLAT),
            book((0, "A", 0.5), (0, "B", -0.5), (2, "A", 0.0), (2, "B", 0.0)),
            [
                (1, "A", "buy", 5.0, 10.0),
                (1, "B", "sell", 5.0, 10.0),
                (3, "A", "sell", 5.0, 10.0),
                (3, "B", "buy", 5.0, 10.0),
            ],
            id="both legs opened and closed",
        ),
        pytest.param(
            bars(A=FLAT, B=FLAT),
            book((0, "A", 1.0), (2, "B", 1.0)),
            [
                (1, "A", "buy", 10.0, 10.0),
                (3, "A", "sell", 10.0, 10.0),
                (3, "B", "buy", 10.0, 10.0),
            ],
            id="a name absent on a rebalance date is sold, and sold before others are bought",
        ),
        pytest.param(
            bars(A=FLAT),
            book((2, "A", 1.0), (4, "A", 0.0)),
            [(3, "A", "buy", 10.0, 10.0)],
            id="a decision on the last session is not filled",
        ),
        pytest.param(
            bars(A=[(10, 10), None, (10, 10), (10, 10)], B=FLAT[:4]),
            book((0, "A", 0.5), (0, "B", 0.5)),
            [(1, "B", "buy", 5.0, 10.0)],
            id="an order without an open lapses",
        ),
        pytest.param(
            bars(A=FLAT, B=FLAT), book((0, "A", 0.0), (0, "B", 0.0)), [], id="zero signal, no trade"
        ),
        pytest.param(
            bars(A=[(10, 10), (10, 10), (10, 12), None, None, None], B=[*FLAT, (10, 10)]),
            book((0, "A", 0.5), (0, "B", -0.5)),
            [(1, "A", "buy", 5.0, 10.0), (1, "B", "sell", 5.0, 10.0), (4, "A", "sell", 5.0, 12.0)],
            id="a name that stops trading leaves at its last price",
        ),
        pytest.param(
            bars(A=[None, None, (20, 20), (20, 20)], B=FLAT[:4]),
            book((1, "A", 0.5), (1, "B", -0.5)),
            [(2, "A", "buy", 2.5, 20.0), (2, "B", "sell", 5.0, 10.0)],
            id="a name that starts trading later",
        ),
    ],
)
def test_bars_in_trades_out(prices, weights, expected):
    assert trades(simulate(weights, prices, costs=FREE, delisted_after=2)) == expected


def test_flags_say_what_was_not_traded_as_asked():
    prices = bars(A=[(10, 10), (10, 10), None, None, None], B=FLAT, C=[(10, 10), None, *FLAT[:3]])
    weights = book((0, "A", 0.5), (0, "C", -0.5))
    flags = simulate(weights, prices, costs=FREE, delisted_after=2).flags
    assert [((row[0] - START).days, *row[1:]) for row in flags.iter_rows()] == [
        (1, "C", "no_open"),
        (3, "A", "delisted"),
    ]


def test_returns_of_a_small_book_by_hand():
    """Long 50 at 10 → 11 → 12, short 50 at 20 → 19 → 21, capital 100, borrow 252 bps a year."""
    prices = bars(A=[(9, 9), (10, 11), (11, 12)], B=[(20, 20), (20, 19), (19, 21)])
    costs = Costs(round_trip_bps=20, impact_coefficient=0, borrow_bps_per_year=252, aum=100)
    result = simulate(book((0, "A", 0.5), (0, "B", -0.5)), prices, costs=costs)
    fee = 100 * 10 / 1e4
    first = 100 + 5 * 1 + 2.5 * 1 - fee
    second = first + 5 * 1 - 2.5 * 2
    borrow = [2.5 * 19 / 1e4, 2.5 * 21 / 1e4]
    assert result.returns["gross"].to_list() == pytest.approx([0.075, 107.5 / 107.5 - 1])
    assert result.returns["net"].to_list() == pytest.approx(
        [(first - borrow[0]) / 100 - 1, (second - borrow[1]) / first - 1]
    )
    assert result.returns["turnover"].to_list() == pytest.approx([0.5, 0.0])
    assert result.returns["long_exposure"][0] == pytest.approx(55 / first)
    assert result.returns["short_exposure"][0] == pytest.approx(47.5 / first)
    assert result.trades["cost"].to_list() == pytest.approx([fee / 2, fee / 2])
    assert result.stats["n_trades"] == 2
    assert result.stats["cost_annual"] == pytest.approx(fee / 100 / 2 * 252)
    assert result.stats["return_total_gross"] == pytest.approx(0.075)


def test_impact_is_sized_by_capital_and_volume():
    """Half of 1,000,000 traded in 20,000,000 a day: √0.025 · 40 bps on top of 5 bps."""
    prices = bars(A=FLAT).with_columns(amount=pl.lit(2e7))
    costs = Costs(round_trip_bps=10, impact_coefficient=40, borrow_bps_per_year=0, aum=1e6)
    trade = simulate(book((0, "A", 0.5)), prices, costs=costs).trades
    bps = 5 + 40 * np.sqrt(5e5 / 2e7)
    assert trade["cost"][0] == pytest.approx(5e5 * bps / 1e4)


def test_until_hides_every_later_price():
    prices = bars(A=FLAT, B=FLAT)
    broken = prices.with_columns(open=pl.when(pl.col("date") > day(3)).then(-1.0).otherwise("open"))
    weights = book((0, "A", 1.0), (2, "B", 1.0), (3, "A", 1.0))
    expected = simulate(weights, prices, costs=FREE, until=day(3))
    assert simulate(weights, broken, costs=FREE, until=day(3)).returns.equals(expected.returns)
    assert expected.returns["date"].max() == day(3)


def test_short_squeeze_ruins_the_book_once():
    prices = bars(A=[(10, 10), (10, 10), (40, 40), (5, 5), (5, 5)])
    result = simulate(book((0, "A", -1.0), (3, "A", -1.0)), prices, costs=FREE)
    assert result.returns["net"].to_list() == [0.0, -1.0, 0.0, 0.0]
    assert result.flags["flag"].to_list() == ["ruined"]
    assert result.stats["return_annual_net"] == -1.0
    assert result.stats["max_drawdown"] == -1.0


def test_nothing_to_simulate():
    result = simulate(book(), bars(A=FLAT), costs=FREE)
    assert result.returns.height == result.trades.height == result.stats["n_trades"] == 0
    assert result.stats["sharpe_net"] is None


@pytest.mark.parametrize(
    ("prices", "weights", "message"),
    [
        (
            bars(A=[(10, 10), (0, 10)]),
            book((0, "A", 1)),
            "open of A on 2020-01-02 is 0; prices must",
        ),
        (pl.concat([bars(A=FLAT)] * 2), book((0, "A", 1)), "A has more than one bar on 2020-01-01"),
        (bars(A=FLAT), book((0, "A", float("nan"))), "A on 2020-01-01 is nan"),
    ],
)
def test_bad_input_names_the_row(prices, weights, message):
    with pytest.raises(ValueError, match=message):
        simulate(weights, prices, costs=FREE)


def market(seed: int, *, days: int = 40, names: int = 4) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    close = 20 * np.exp(np.cumsum(rng.normal(0, 0.03, (days, names)), axis=0))
    opened = close * np.exp(rng.normal(0, 0.01, close.shape))
    series = {
        f"T{k}": list(zip(opened[:, k].tolist(), close[:, k].tolist(), strict=True))
        for k in range(names)
    }
    return bars(**series)


def random_book(seed: int, *, dates: tuple[int, ...] = (2, 9, 17, 30)) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for i in dates:
        w = rng.normal(size=4)
        w = (w - w.mean()) / np.abs(w - w.mean()).sum()
        rows += [(i, f"T{k}", float(w[k])) for k in range(4)]
    return book(*rows)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), low=st.floats(0, 100), more=st.floats(0, 300))
def test_higher_cost_never_raises_the_net_return(seed, low, more):
    def final(bps: float) -> float:
        costs = Costs(round_trip_bps=bps, impact_coefficient=5, borrow_bps_per_year=bps, aum=1e5)
        result = simulate(random_book(seed), market(seed), costs=costs)
        return result.stats["return_total_net"]

    assert final(low + more) <= final(low) + 1e-12


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), aum=st.floats(1, 1e9))
def test_returns_do_not_depend_on_capital_without_impact(seed, aum):
    def returns(capital: float) -> np.ndarray:
        costs = Costs(round_trip_bps=20, impact_coefficient=0, borrow_bps_per_year=50, aum=capital)
        return simulate(random_book(seed), market(seed), costs=costs).returns["net"].to_numpy()

    np.testing.assert_allclose(returns(aum), returns(100.0), atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_later_weights_and_prices_change_no_earlier_return(seed):
    costs = Costs(round_trip_bps=20, impact_coefficient=50, borrow_bps_per_year=50, aum=1e6)
    prices, weights = market(seed), random_book(seed)
    noise = market(seed + 999)
    cut = day(17)
    mixed = pl.concat([prices.filter(pl.col("date") <= cut), noise.filter(pl.col("date") > cut)])
    other = pl.concat(
        [
            weights.filter(pl.col("asof") < cut),
            random_book(seed + 999).filter(pl.col("asof") >= cut),
        ]
    )
    past = pl.col("date") <= cut
    before = simulate(weights, prices, costs=costs).returns.filter(past)
    after = simulate(other, mixed, costs=costs).returns.filter(past)
    assert before.equals(after)

"""Target weights to orders, as a table."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.live.brokers.broker import Asset, Position
from engine.live.orders import client_id, next_attempt, plan_hash, plan_orders

DAY = date(2026, 3, 4)


def asset(ticker, tradable=True, shortable=True, fractionable=True):
    return Asset(ticker, tradable, shortable, fractionable)


def plan(weights, held=(), prices=None, assets=None, **changed):
    tickers = {*weights, *dict(held)}
    prices = {"A": 10.0, "B": 20.0, "C": 30.0} | (prices or {})
    known = {ticker: asset(ticker) for ticker in tickers} | (assets or {})
    arguments = {
        "session": DAY,
        "plan": "p",
        "equity": 1000.0,
        "positions": {t: Position(t, q, 1.0) for t, q in dict(held).items()},
        "prices": {t: p for t, p in prices.items() if p},
        "assets": {t: a for t, a in known.items() if a},
        "whole_shares": True,
        "min_order_value": 1.0,
        "split_crossing": False,
    }
    return plan_orders(weights, **(arguments | changed))


def lines(found):
    return [(o.order.ticker, o.order.side, o.order.quantity, o.leg) for o in found.orders]


CASES = {
    "shares are cut towards zero": (
        {"A": 0.5, "B": -0.33},
        {},
        {},
        [("B", "sell", 16, "whole"), ("A", "buy", 50, "whole")],
    ),
    "an exact number of shares stays": ({"A": 0.3}, {}, {}, [("A", "buy", 30, "whole")]),
    "names no longer in the targets are closed": (
        {"A": 0.5},
        {"B": 7, "C": -3},
        {},
        [("B", "sell", 7, "whole"), ("A", "buy", 50, "whole"), ("C", "buy", 3, "whole")],
    ),
    "only the difference is traded": ({"A": 0.5}, {"A": 20}, {}, [("A", "buy", 30, "whole")]),
    "nothing to do": ({"A": 0.5}, {"A": 50}, {}, []),
    "fractions where they are allowed": (
        {"A": 0.12345},
        {},
        {"whole_shares": False},
        [("A", "buy", 12.345, "whole")],
    ),
    "no fractions of a short": (
        {"A": -0.12345},
        {},
        {"whole_shares": False},
        [("A", "sell", 12, "whole")],
    ),
    "a fraction held is closed whole": ({}, {"A": 2.5}, {}, [("A", "sell", 2.5, "whole")]),
    "crossing zero at once": ({"A": -0.1}, {"A": 5}, {}, [("A", "sell", 15, "whole")]),
    "crossing zero in two": (
        {"A": -0.1, "B": 0.1},
        {"A": 5},
        {"split_crossing": True},
        [("A", "sell", 5, "close"), ("B", "buy", 5, "whole"), ("A", "sell", 10, "open")],
    ),
    "short to long in two": (
        {"A": 0.1},
        {"A": -5},
        {"split_crossing": True},
        [("A", "buy", 5, "close"), ("A", "buy", 10, "open")],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_orders(case):
    weights, held, changed, expected = CASES[case]
    assert lines(plan(weights, held, **changed)) == expected


def test_names_without_fractions_at_the_broker_trade_whole():
    found = plan({"A": 0.12345}, whole_shares=False, assets={"A": asset("A", fractionable=False)})
    assert lines(found) == [("A", "buy", 12, "whole")]


LEFT_OUT = {
    "unknown": ({"A": 0.1}, {}, {"assets": {"A": None}}, "does not know"),
    "not tradable": ({"A": 0.1}, {}, {"assets": {"A": asset("A", tradable=False)}}, "not tradable"),
    "no quote": ({}, {"A": 5}, {"prices": {"A": None}}, "no quote"),
    "not shortable": (
        {"A": -0.1},
        {},
        {"assets": {"A": asset("A", shortable=False)}},
        "not shortable",
    ),
    "small": ({"A": 0.5}, {"A": 49}, {"min_order_value": 11.0}, "min_order_value"),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_left_out_with_a_reason(case):
    weights, held, changed, reason = LEFT_OUT[case]
    found = plan(weights, held, **changed)
    assert not found.orders
    assert reason in found.left_out["A"]


def test_what_cannot_be_short_is_sold_to_nothing():
    found = plan({"A": -0.1}, {"A": 5}, assets={"A": asset("A", shortable=False)})
    assert lines(found) == [("A", "sell", 5, "whole")]
    assert "not shortable" in found.left_out["A"]


def test_ids_are_the_same_for_the_same_order_and_differ_otherwise():
    first, again = plan({"A": 0.5, "B": -0.2}), plan({"B": -0.2, "A": 0.5})
    assert first == again
    ids = {
        client_id(day, ticker, side, p, attempt, leg)
        for day in (DAY, date(2026, 3, 5))
        for ticker in ("A", "B")
        for side in ("buy", "sell")
        for p in ("p", "q")
        for attempt in (1, 2)
        for leg in ("whole", "close", "open")
    }
    assert len(ids) == 2 * 2 * 2 * 2 * 2 * 3
    assert all(len(name) <= 48 for name in ids)


def test_plan_hash_is_of_date_weights_and_configuration():
    base = plan_hash(DAY, {"A": 0.1, "B": 0.2}, "c")
    assert base == plan_hash(DAY, {"B": 0.2, "A": 0.1}, "c")
    others = [
        plan_hash(date(2026, 3, 5), {"A": 0.1, "B": 0.2}, "c"),
        plan_hash(DAY, {"A": 0.1, "B": 0.2000001}, "c"),
        plan_hash(DAY, {"A": 0.1, "B": 0.2}, "d"),
    ]
    assert len({base, *others}) == 4


def test_another_attempt_is_the_same_order_under_another_id():
    from engine.live.orders import OrderRecord

    planned = plan({"A": 0.5}).orders[0]
    record = OrderRecord(planned, "rejected", 0.0, None, None, "why", None, None, None)  # type: ignore[arg-type]
    second = next_attempt(record)
    assert second.attempt == 2
    assert second.order.client_id == client_id(DAY, "A", "buy", "p", 2)
    assert (second.order.quantity, second.order.side) == (50, "buy")


@settings(deadline=None)
@given(
    weights=st.dictionaries(st.sampled_from("ABC"), st.floats(-0.5, 0.5), max_size=3),
    held=st.dictionaries(st.sampled_from("ABC"), st.integers(-60, 60).map(float), max_size=3),
    split=st.booleans(),
)
def test_filled_orders_reach_the_target_and_never_exceed_it(weights, held, split):
    held = {ticker: quantity for ticker, quantity in held.items() if quantity}
    found = plan(weights, held, split_crossing=split, min_order_value=0.0)
    after = dict(held)
    for planned in found.orders:
        sign = 1 if planned.order.side == "buy" else -1
        after[planned.order.ticker] = (
            after.get(planned.order.ticker, 0) + sign * planned.order.quantity
        )
        assert planned.order.quantity > 0
    price = {"A": 10.0, "B": 20.0, "C": 30.0}
    for ticker in {*weights, *held}:
        wanted = weights.get(ticker, 0.0) * 1000 / price[ticker]
        assert abs(after.get(ticker, 0.0)) <= abs(wanted) + 1e-6
        assert abs(wanted - after.get(ticker, 0.0)) < 1 + 1e-6
    stages = [planned.stage for planned in found.orders]
    assert stages == sorted(stages)

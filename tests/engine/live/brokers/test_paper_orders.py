"""Random orders at the paper broker: sums that hold, and crashes that change nothing."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from alpaca_stand_in import DAYS, closing, opening
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from paper_world import HALF_BPS, World, adv, bar, expected_fees

from engine.live.brokers.broker import Order
from engine.live.brokers.paper.broker import PaperBroker

ORDERS = st.lists(
    st.tuples(
        st.sampled_from("AB"),
        st.sampled_from(["buy", "sell"]),
        st.one_of(st.integers(1, 500), st.floats(0.01, 300).map(lambda x: round(x, 6))),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=12,
)


def play(world: World, orders, submit) -> PaperBroker:
    """Each order in a moment of its own: at an open, in a session's end, or in the night."""
    broker = world.broker
    for number, (ticker, side, quantity, when) in enumerate(orders):
        day = DAYS[30 + number // 2]
        offset = [timedelta(0), timedelta(hours=6, minutes=10), timedelta(hours=7)][when]
        world.clock.wait_until(opening(day) + offset)
        broker = submit(broker, Order(f"id-{number}", ticker, side, quantity))
    world.clock.wait_until(closing(DAYS[30 + len(orders) // 2 + 1]))
    return broker


@pytest.fixture(scope="session")
def quick_folders() -> Iterator[Callable[[], Path]]:
    """Folders in memory where there are such: hundreds of commits, each written through."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield lambda: Path(tempfile.mkdtemp(dir=folder))


@effort(max_examples=25, deadline=None)
@given(orders=ORDERS)
def test_cash_and_positions_are_those_of_a_plain_loop(quick_folders, orders):
    world = World(quick_folders())

    def submit(broker, order):
        broker.submit(order)
        return broker

    broker = play(world, orders, submit)
    cash, shares, value = 1e6, {"A": 0.0, "B": 0.0}, {}
    account = broker.account()
    last = DAYS[30 + len(orders) // 2 + 1]
    fills = broker.fills(opening(DAYS[0]))
    assert len({fill.client_id for fill in fills}) == len(fills) == len(orders)
    at = 0
    for day in DAYS[30 : DAYS.index(last) + 1]:
        while at < len(fills) and fills[at].ts.date() <= day:
            fill = fills[at]
            row = bar(fill.ticker, day)
            mid = row["open"] if fill.ts == opening(day) else row["close"]
            sign = 1 if fill.side == "buy" else -1
            cash -= sign * fill.quantity * mid * (1 + sign * HALF_BPS / 1e4)
            cash -= expected_fees(mid, fill.quantity, adv(fill.ticker, day))
            shares[fill.ticker] += sign * fill.quantity
            at += 1
        for ticker, held in shares.items():
            value[ticker] = held * bar(ticker, day)["close"]
            cash -= max(0.0, -value[ticker]) * 50 / 1e4 / 252
    held = {ticker: position.quantity for ticker, position in broker.positions().items()}
    assert held == pytest.approx({t: q for t, q in shares.items() if abs(q) > 1e-9})
    assert account.cash == pytest.approx(cash, abs=1e-3)
    assert account.equity == pytest.approx(cash + sum(value.values()), abs=1e-3)


class Crash(BaseException):
    """The process is gone."""


def dying(after: int):
    """Connections whose n-th statement, counted over all of them, never returns."""
    left = [after]

    class Dying(sqlite3.Connection):
        def execute(self, *given):
            left[0] -= 1
            if left[0] == 0:
                raise Crash
            return super().execute(*given)

    return lambda path, **given: sqlite3.connect(path, factory=Dying, **given)


@effort(max_examples=25, deadline=None)
@given(orders=ORDERS, crashes=st.lists(st.integers(1, 60), max_size=8), again=st.integers(1, 3))
def test_crashes_and_repeats_change_nothing(quick_folders, orders, crashes, again):
    plain = World(quick_folders())

    def once(broker, order):
        broker.submit(order)
        return broker

    undisturbed = play(plain, orders, once)
    torn = World(quick_folders())
    pending = list(crashes)

    def submit(broker, order):
        broker.close()
        for _ in range(again):
            while True:
                try:
                    broker = torn.open(dying(pending.pop()) if pending else sqlite3.connect)
                    broker.submit(order)
                    break
                except Crash:
                    pass
                finally:
                    broker.close()  # as death does: what is not committed is gone
        return torn.open()

    disturbed = play(torn, orders, submit)
    assert disturbed.positions() == undisturbed.positions()
    assert disturbed.account() == undisturbed.account()
    assert disturbed.fills(opening(DAYS[0])) == undisturbed.fills(opening(DAYS[0]))

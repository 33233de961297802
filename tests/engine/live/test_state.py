"""The state survives kills, keeps its own counsel on old reports, and lets one process in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from places import ROOT

from engine.errors import UsageError
from engine.live.brokers.broker import Account, Asset, Fill, OrderReport, Position
from engine.live.control import Command
from engine.live.guards import GuardEvent
from engine.live.orders import plan_orders
from engine.live.state import Plan, open_state

DAY, NEXT = date(2026, 3, 4), date(2026, 3, 5)
NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)


@pytest.fixture
def state(tmp_path):
    with open_state(tmp_path / "live.duckdb") as opened:
        yield opened


def a_plan(session=DAY, kind="rebalance", config="c", forecaster="momentum"):
    targets = pl.DataFrame({"ticker": ["A", "B"], "weight": [0.5, 0.0], "close": [10.0, 20.0]})
    return Plan(
        session,
        session - timedelta(days=1),
        kind,
        "p",
        config,
        "m",
        "d",
        forecaster,
        None,
        NOW,
        targets,
    )


def some_orders(session=DAY):
    return plan_orders(
        {"A": 0.5, "B": -0.2},
        session=session,
        plan="p",
        equity=1000.0,
        positions={},
        prices={"A": 10.0, "B": 20.0},
        assets={t: Asset(t, True, True, True) for t in "AB"},
        whole_shares=True,
        min_order_value=1.0,
        split_crossing=False,
    ).orders


def report(planned, filled, status, seconds, price=10.0):
    order = planned.order
    return OrderReport(
        order.client_id, "b1", order.ticker, order.side, order.quantity, filled, price, status,
        NOW + timedelta(seconds=seconds),
    )  # fmt: skip


def fill(planned, quantity, price, name):
    order = planned.order
    return Fill(name, order.client_id, order.ticker, order.side, quantity, price, NOW)


def test_plans_come_back_as_they_were(state):
    state.plans.record(a_plan())
    state.plans.record(a_plan(NEXT, "hold", config="d"))
    found = state.plans.of(DAY)
    assert found.targets.equals(a_plan().targets)
    assert (found.weights, found.closes) == ({"A": 0.5}, {"A": 10.0, "B": 20.0})
    assert found.made == NOW
    assert state.plans.of(date(2026, 3, 6)) is None
    assert state.plans.last(date(2026, 3, 6)).config_hash == "d"
    assert state.plans.last_rebalance(date(2026, 3, 6)).session == DAY
    assert state.plans.last_rebalance(date(2026, 3, 6), "reversal") is None
    state.plans.record(a_plan())
    assert state.plans.of(DAY).targets.height == 2


def test_an_older_report_changes_nothing(state):
    planned = some_orders()[1]
    state.orders.plan([planned], NOW)
    assert state.orders.report(report(planned, 20, "partially_filled", 2), NOW)
    assert not state.orders.report(report(planned, 0, "accepted", 1), NOW)
    assert not state.orders.report(report(planned, 20, "partially_filled", 2), NOW)
    assert state.orders.report(report(planned, 50, "filled", 2), NOW)
    assert not state.orders.report(report(planned, 20, "partially_filled", 2), NOW)
    (record,) = state.orders.of(DAY)
    assert (record.status, record.filled) == ("filled", 50)


def test_fills_count_once_and_make_the_positions(state):
    sell, buy = some_orders()
    state.orders.plan([sell, buy], NOW)
    assert state.orders.fill([fill(buy, 30, 10.0, "1"), fill(buy, 20, 11.0, "2")]) == 2
    assert state.orders.fill([fill(buy, 20, 11.0, "2"), fill(sell, 10, 20.0, "3")]) == 1
    stranger = Fill("9", "not ours", "A", "buy", 5, 1.0, NOW)
    assert state.orders.fill([stranger]) == 0
    assert state.holdings.positions() == {
        "A": Position("A", 50, 10.4),
        "B": Position("B", -10, 20.0),
    }
    assert len(state.orders.fills(DAY)) == 3


@pytest.mark.parametrize(
    ("held", "side", "quantity", "expected"),
    [
        (None, "buy", 5, (5, 30.0)),
        ((10, 20.0), "buy", 10, (20, 25.0)),
        ((10, 20.0), "sell", 4, (6, 20.0)),
        ((10, 20.0), "sell", 10, None),
        ((10, 20.0), "sell", 15, (-5, 30.0)),
        ((-10, 20.0), "sell", 10, (-20, 25.0)),
        ((-10, 20.0), "buy", 25, (15, 30.0)),
    ],
)
def test_average_price(state, held, side, quantity, expected):
    state.holdings.adopt({"A": Position("A", *held)} if held else {}, NOW)
    state.holdings.apply(Fill("1", "x", "A", side, quantity, 30.0, NOW))
    found = state.holdings.positions().get("A")
    assert found == (Position("A", *expected) if expected else None)


def test_orders_are_unsettled_until_closed_with_all_their_fills(state):
    sell, buy = some_orders()
    state.orders.plan([sell, buy], NOW)
    assert state.orders.unsettled() == []
    state.orders.sending(buy.order.client_id, NOW)
    assert [r.order.ticker for r in state.orders.unsettled()] == ["A"]
    state.orders.report(report(buy, 50, "filled", 1), NOW)
    assert [r.order.ticker for r in state.orders.unsettled()] == ["A"]
    state.orders.fill([fill(buy, 50, 10.0, "1")])
    assert state.orders.unsettled() == []
    assert state.orders.sent_since(NOW) == [NOW]


def test_marks_guards_equity_and_commands(state):
    assert state.cycles.last_session() is None
    state.cycles.mark(DAY, "trade", "halted", NOW, "why")
    state.cycles.mark(DAY, "trade", "done", NOW + timedelta(seconds=1))
    assert state.cycles.marks(DAY)["trade"].status == "done"
    assert state.cycles.last_session() == DAY
    event = GuardEvent("gross", "too much", None, True)
    state.cycles.record_guards(DAY, "trade", [event], NOW)
    assert state.cycles.guards(DAY) == [("trade", event)]
    state.holdings.record_equity(DAY, "review", Account(10.0, 5.0), NOW)
    state.holdings.record_equity(DAY, "review", Account(11.0, 5.0), NOW)
    assert state.holdings.equity()["equity"].to_list() == [11.0]
    command = Command("1", "acknowledge", {"config_hash": "x"})
    assert state.cycles.take(command, NOW)
    assert not state.cycles.take(command, NOW)
    assert state.cycles.acknowledged("config_hash") == {"x"}
    assert state.cycles.last_command() == NOW
    assert state.cycles.last_command("resume") is None


def test_a_failed_change_leaves_nothing(state):
    def half_done():
        with state.transaction():
            state.plans.record(a_plan())
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        half_done()
    assert state.plans.of(DAY) is None


CHILD = """
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from engine.live.brokers.broker import Account
from engine.live.state import open_state

with open_state(Path(sys.argv[1])) as state:
    for day in range(1, 10**6):
        session = date.fromordinal(735000 + day)
        with state.transaction():
            state.cycles.mark(session, "trade", "done", datetime(2026, 3, 4, tzinfo=UTC))
            state.holdings.record_equity(session, "trade", Account(day, day), datetime(2026, 3, 4, tzinfo=UTC))
        print(day, flush=True)
"""


def test_what_was_committed_survives_a_kill_and_nothing_is_half_there(tmp_path):
    path = tmp_path / "live.duckdb"
    root = ROOT
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert child.stdout is not None
    said = [child.stdout.readline() for _ in range(20)]
    with pytest.raises(UsageError, match=f"process {child.pid}"), open_state(path):
        pass
    child.send_signal(signal.SIGKILL)
    said += child.stdout.readlines()
    child.wait()
    last = int([line for line in said if line.endswith("\n")][-1])
    with open_state(path) as state:
        equity = state.holdings.equity()
        days = state.cycles.last_session().toordinal() - 735000
        assert days in (last, last + 1)
        assert equity["equity"].sort().to_list() == list(range(1, days + 1))

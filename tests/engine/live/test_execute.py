"""Every order reaches the broker once, whatever happens between planning and the last fill."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest
from live_desk import OPEN, Desk, Killed, StepClock

from engine.config.live import LiveSettings
from engine.live.brokers.broker import OrderReport, Position
from engine.live.execute import Executor, HaltedError, LateError
from engine.live.guards import GuardEvent
from engine.live.orders import plan_orders
from engine.live.state import LiveState

DAY = date(2026, 3, 4)
CLOSE = OPEN + timedelta(hours=6, minutes=30)


def settings(**changed):
    tree = {"schedule": {"poll_s": 5, "fill_timeout_s": 30, "max_attempts": 3}}
    for key, value in changed.items():
        tree.setdefault(key, {}).update(value)
    return LiveSettings(**tree)


class Bench:
    """Desk, state and executor of one session; `restart` is what happens after a kill."""

    def __init__(self, gate=lambda: [], behave=None, live=None, deadline=CLOSE):
        self.state = LiveState(Path(":memory:"))
        self.clock = StepClock()
        self.desk = Desk(self.clock)
        self.desk.behave = behave or {}
        self.gate, self.live, self.deadline = gate, live or settings(), deadline

    def plan(self, weights, held=(), split=False):
        for ticker, quantity in dict(held).items():
            self.desk.held[ticker] = quantity
            self.desk.cash -= quantity * self.desk.prices[ticker]
        equity = self.desk.account().equity
        positions = self.desk.positions()
        orders = plan_orders(
            weights,
            session=DAY,
            plan="p",
            equity=equity,
            positions=positions,
            prices=self.desk.prices,
            assets=self.desk.assets(["A", "B", "C"]),
            whole_shares=True,
            min_order_value=1.0,
            split_crossing=split,
        ).orders
        self.state.holdings.adopt(positions, self.clock.now())
        self.state.orders.plan(orders, self.clock.now())
        return self

    def run(self, finish=False):
        executor = Executor(
            self.desk, self.state, self.clock, self.live, self.gate, deadline=self.deadline
        )
        executor.settle()
        if finish:
            executor.finish(DAY)
        else:
            executor.run(DAY)
        return self.records()

    def records(self):
        return self.state.orders.of(DAY)

    def held(self):
        return {t: p.quantity for t, p in self.state.holdings.positions().items()}

    def agree(self):
        """The state's positions are the broker's, and no id was taken twice."""
        assert self.held() == {t: q for t, q in self.desk.held.items() if q}
        assert max(Counter(o.client_id for o in self.desk.submitted).values(), default=1) == 1


WEIGHTS = {"A": 0.3, "B": -0.2, "C": 0.1}
TARGET = {"A": 3000, "B": -1000, "C": 333}


@pytest.mark.parametrize("way", ["fill", "partial", "slow"])
def test_orders_are_filled(way):
    bench = Bench(behave={t: [way] for t in "ABC"}).plan(WEIGHTS)
    records = bench.run()
    assert [r.status for r in records] == ["filled"] * 3
    assert bench.desk.held == TARGET
    assert [o.side for o in bench.desk.submitted] == ["sell", "buy", "buy"]
    bench.agree()


def test_running_again_sends_nothing():
    bench = Bench().plan(WEIGHTS)
    bench.run()
    bench.run()
    assert len(bench.desk.submitted) == 3
    bench.agree()


@pytest.mark.parametrize("way", ["reject", "refuse"])
def test_a_rejected_order_is_tried_again_under_another_id(way):
    bench = Bench(behave={"A": [way, way]}).plan(WEIGHTS)
    records = bench.run()
    tries = [(r.status, r.planned.attempt) for r in records if r.order.ticker == "A"]
    assert tries == [("rejected", 1), ("rejected", 2), ("filled", 3)]
    assert len({r.order.client_id for r in records}) == 5
    assert bench.desk.held == TARGET
    bench.agree()


def test_rejections_are_given_up_after_the_last_attempt():
    bench = Bench(behave={"A": ["reject"] * 9}).plan(WEIGHTS)
    records = bench.run()
    assert [r.status for r in records if r.order.ticker == "A"] == ["rejected"] * 3
    assert bench.desk.held == {"B": -1000, "C": 333}
    assert "computer says no" in [r.reason for r in records if r.order.ticker == "A"]


def test_what_does_not_fill_is_left_open_and_cancelled_at_the_end():
    bench = Bench(behave={"A": ["open"]}).plan(WEIGHTS)
    started = bench.clock.now()
    records = bench.run()
    assert {r.order.ticker: r.status for r in records} == {
        "A": "accepted",
        "B": "filled",
        "C": "filled",
    }
    assert bench.clock.now() - started == timedelta(seconds=30)
    records = bench.run(finish=True)
    assert {r.order.ticker: r.status for r in records} == {
        "A": "canceled",
        "B": "filled",
        "C": "filled",
    }
    bench.agree()


def test_no_more_orders_a_minute_than_allowed():
    bench = Bench(live=settings(guards={"max_orders_per_minute": 2})).plan(WEIGHTS)
    started = bench.clock.now()
    records = bench.run()
    sent = sorted((r.sent - started).total_seconds() for r in records)
    assert sent[:2] == [0, 0]
    assert 60 <= sent[2] < 61


@pytest.mark.parametrize(("closing", "sent"), [("fill", 2), ("open", 1)])
def test_the_other_side_is_opened_only_after_the_first_is_closed(closing, sent):
    bench = Bench(behave={"A": [closing]})
    bench.plan({"A": -0.1}, held={"A": 500}, split=True)
    records = bench.run()
    assert len(bench.desk.submitted) == sent
    opening = next(r for r in records if r.planned.leg == "open")
    assert opening.status == ("filled" if closing == "fill" else "canceled")
    assert opening.reason is None or "did not fill" in opening.reason


def test_the_broker_away_for_a_while_changes_nothing():
    for calls in range(4, 25, 4):
        bench = Bench().plan(WEIGHTS)
        seen = Counter()

        def faults(name, bench=bench, seen=seen, every=calls):
            seen["calls"] += 1
            if seen["calls"] % (every + 1) == 0:
                bench.desk.down = 2

        bench.desk.before = faults
        bench.run()
        bench.desk.before = lambda name: None
        bench.run()
        assert bench.desk.held == TARGET
        bench.agree()


def test_an_answer_that_got_lost_is_no_second_order():
    """The broker took the order and the connection broke before its answer."""
    bench = Bench().plan(WEIGHTS)
    lost = []

    def lose(name):
        if name == "submit" and len(lost) < 3:
            lost.append(name)
            raise bench.desk_error

    from engine.live.brokers.broker import BrokerDownError

    bench.desk_error = BrokerDownError("reset")
    bench.desk.after = lose
    bench.run()
    assert lost == ["submit"] * 3
    assert bench.desk.held == TARGET
    bench.agree()


def test_late_is_said_and_nothing_is_sent_after_the_deadline():
    bench = Bench(deadline=OPEN + timedelta(minutes=6)).plan(WEIGHTS)
    bench.desk.down = 10**6
    with pytest.raises(LateError):
        bench.run()
    assert bench.desk.submitted == []
    bench.desk.down = 0
    with pytest.raises(LateError):
        bench.run()
    assert bench.desk.submitted == []
    records = bench.run(finish=True)
    assert {r.status for r in records} == {"canceled"}
    reasons = [r.reason for r in records]
    assert reasons == ["it never reached the broker", *["it was not sent in time"] * 2]


def test_a_guard_that_trips_between_orders_stops_the_rest_and_cancels_what_is_open():
    bench = Bench(behave={"B": ["open"], "A": ["open"]}).plan(WEIGHTS)
    bench.gate = lambda: (
        [GuardEvent("kill_switch", "enough")] if len(bench.desk.submitted) == 2 else []
    )
    with pytest.raises(HaltedError, match="enough"):
        bench.run()
    assert [o.ticker for o in bench.desk.submitted] == ["B", "A"]
    assert {r.order.ticker: r.status for r in bench.records()} == {
        "A": "canceled",
        "B": "canceled",
        "C": "planned",
    }
    with pytest.raises(HaltedError):
        bench.run()
    assert len(bench.desk.submitted) == 2
    bench.gate = lambda: []
    bench.run()
    assert [o.ticker for o in bench.desk.submitted] == ["B", "A", "C"]


def test_an_older_report_does_not_undo_a_fill():
    bench = Bench().plan({"A": 0.1})
    bench.run()
    (record,) = bench.records()
    old = OrderReport(
        record.order.client_id, "b", "A", "buy", 1000, 0.0, None, "accepted",
        bench.clock.now() - timedelta(minutes=1),
    )  # fmt: skip
    assert not bench.state.orders.report(old, bench.clock.now())
    assert bench.records()[0].status == "filled"


WAYS = {
    "slow and rejected": (
        {"A": ["reject", "partial"], "B": ["slow"], "C": ["refuse", "fill"]},
        {},
    ),
    "crossing zero": ({"A": ["fill"]}, {"A": -500}),
}


@pytest.mark.parametrize("case", WAYS)
def test_a_kill_at_any_point_doubles_no_order(case):
    """The process dies before or after each single call to the broker, and starts again."""

    def make():
        behave, held = WAYS[case]
        bench = Bench(behave={t: list(w) for t, w in behave.items()})
        return bench.plan(WEIGHTS, held=held, split=bool(held))

    whole = make()
    calls = {"before": Counter(), "after": Counter()}
    whole.desk.before = lambda name: calls["before"].update([name])
    whole.desk.after = lambda name: calls["after"].update([name])
    whole.run()
    expected = dict(whole.desk.held)
    for moment in calls:
        # Every fourth call before and every fourth after it, so between every other two once.
        for number in range(1 + (moment == "after"), calls[moment].total() + 1, 4):
            bench = make()
            seen = Counter()

            def kill(name, seen=seen, number=number):
                seen["calls"] += 1
                if seen["calls"] == number:
                    raise Killed

            setattr(bench.desk, moment, kill)
            with pytest.raises(Killed):
                bench.run()
            setattr(bench.desk, moment, lambda name: None)
            bench.run()
            assert dict(bench.desk.held) == expected, (moment, number)
            assert len(bench.desk.submitted) == len(whole.desk.submitted)
            bench.agree()


def test_positions_taken_over_are_traded_from():
    bench = Bench().plan({"A": 0.3}, held={"A": 100, "B": 50})
    bench.run()
    assert bench.held() == {"A": 3000}
    assert bench.desk.positions()["A"] == Position("A", 3000, 10.0)

"""The Alpaca adapter beside a server that fails, hangs, forgets and sends keys back."""

from __future__ import annotations

import logging
import traceback
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from alpaca_stand_in import BUY, DAYS, KEYS, opening, play
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bench.private.fake_faults import Fault, Faults
from engine.live.brokers.broker import BrokerDownError, BrokerError, Order, OrderRefusedError


@pytest.mark.parametrize("status", [401, 403])
def test_wrong_keys_are_told_at_once(side, status):
    side.faults(Fault("status", status, body='{"message": "forbidden."}'))
    with pytest.raises(BrokerError, match=str(status)) as caught:
        side.broker().account()
    assert not isinstance(caught.value, BrokerDownError)
    wrong = side.broker(environ={**KEYS, "APCA_API_KEY_ID": "PKOTHER"})
    with pytest.raises(BrokerError, match="401") as caught:
        wrong.submit(BUY)
    assert not isinstance(caught.value, BrokerDownError | OrderRefusedError)
    assert side.waited == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_cannot_now_is_asked_again(side, status):
    side.faults(*[Fault("status", status)] * 4)
    assert side.broker().account().equity == 1e6
    low = [0.25, 0.5, 1.0, 2.0]
    assert all(a <= b <= 2 * a for a, b in zip(low, side.waited, strict=True))
    side.faults(*[Fault("status", status)] * 5)
    with pytest.raises(BrokerDownError, match=str(status)):
        side.broker().account()


def test_retry_after_is_kept_to(side):
    side.faults(Fault("status", 429, retry_after=17), Fault("status", 429, retry_after=3600))
    side.broker().account()
    assert side.waited == [17, 60]


# Seconds a client waits for a server that hangs; a busy machine answers in less.
SHORT_S = 0.5


@pytest.mark.parametrize("kind", ["hang", "reset", "garbage"])
def test_no_answer_is_asked_again(side, kind):
    broker = side.broker(timeout_s=SHORT_S, retries=1)
    side.faults(Fault(kind))
    assert broker.account().equity == 1e6
    assert len(side.waited) == 1
    side.faults(Fault(kind), Fault(kind))
    with pytest.raises(BrokerDownError):
        broker.positions()


@pytest.mark.parametrize(
    ("kind", "times"),
    [
        ("hang", 1),
        ("hang_after", 1),
        *((kind, n) for kind in ("reset", "reset_after", "garbage") for n in (1, 3)),
    ],
)
def test_an_order_without_an_answer_is_executed_once(side, kind, times):
    side.faults(*[Fault(kind, method="POST")] * times)
    broker = side.broker(timeout_s=SHORT_S if "hang" in kind else 5.0)
    assert broker.submit(BUY).filled == 100
    assert len(broker.fills(opening(DAYS[30]))) == 1
    assert broker.positions()["A"].quantity == 100
    # An order that arrived is found and not sent again.
    assert len(side.sent) == (1 if kind.endswith("after") else times + 1)


def test_an_order_that_arrives_late_is_found_by_its_refused_twin(side):
    side.faults(
        Fault("reset_after", method="POST"),
        Fault("status", 404, path="/v2/orders:by", body='{"message": "order not found"}'),
    )
    assert side.broker().submit(BUY).filled == 100
    assert len(side.sent) == 2
    assert side.broker().positions()["A"].quantity == 100
    nowhere = Fault("status", 404, path="/v2/orders:by", body='{"message": "order not found"}')
    side.faults(*[nowhere] * 5)
    with pytest.raises(BrokerDownError, match="not to be found"):
        side.broker().submit(BUY)


def test_an_order_filled_before_it_can_be_cancelled_stays_filled(side):
    broker = side.broker()
    broker.submit(BUY)
    broker._newest.clear()
    side.faults(Fault("stale", path="/v2/orders:by"))
    broker.cancel(BUY.client_id)
    assert side.server.asked[-1][0] == "DELETE"
    assert broker.order(BUY.client_id).status == "filled"


def test_an_order_of_a_process_that_died_is_found(side):
    side.broker().submit(BUY)
    again = side.broker().submit(BUY)
    assert (again.status, again.filled) == ("filled", 100)
    assert len(side.sent) == 2
    assert side.broker().positions()["A"].quantity == 100
    with pytest.raises(BrokerError, match="another order"):
        side.broker().submit(replace(BUY, quantity=50))


def test_nothing_is_known_of_an_order_while_the_server_is_away(side):
    side.faults(*[Fault("status", 503)] * 40)
    with pytest.raises(BrokerDownError):
        side.broker().submit(BUY)
    side.server.faults.script.clear()
    assert side.broker().order(BUY.client_id) is None


ORDERS = st.lists(
    st.tuples(st.sampled_from("AB"), st.integers(1, 50), st.booleans()), min_size=1, max_size=5
)


def stubborn(side, order: Order) -> None:
    """Another process each time, until one gets through."""
    while True:
        broker = side.broker(retries=2)
        try:
            broker.submit(order)
            return
        except BrokerDownError:
            pass
        finally:
            broker.close()


@settings(max_examples=12, deadline=None)
@given(orders=ORDERS, seed=st.integers(0, 10**6), again=st.integers(1, 3))
def test_a_disturbed_day_ends_as_an_undisturbed_one(tmp_path_factory, orders, seed, again):
    """Lost requests, lost answers, stale and partial ones; each order sent by many processes."""
    ends = []
    for faults, times in ((None, 1), (Faults(seed, share=0.4), again)):
        folder = tmp_path_factory.mktemp("day")
        with play(folder, faults=faults, parts=3, cash=1e5) as side:
            for number, (ticker, quantity, later) in enumerate(orders):
                if later:
                    side.clock.wait_until(side.clock.now() + timedelta(hours=2))
                order = Order(f"id-{number}", ticker, "buy", quantity)
                for _ in range(times):
                    stubborn(side, order)
            side.clock.wait_until(opening(DAYS[32]))
            state = side.server.state()
            side.server.faults.seed = None
            broker = side.broker()
            fills = {}
            for fill in broker.fills(opening(DAYS[29])):
                fills[fill.client_id] = fills.get(fill.client_id, 0.0) + fill.quantity
            ends.append((broker.account(), broker.positions(), fills))
            assert state["filled"] == state["ordered"] == pytest.approx(fills)
    assert ends[0] == ends[1]


def test_no_key_in_any_text(tmp_path, caplog, capfd):
    """Canary keys, failures of every kind, the server itself sending them back, all logs on."""
    caplog.set_level(logging.DEBUG)
    key, secret = KEYS.values()
    echo = f'{{"message": "no such account {key} with {secret}"}}'
    texts: list[str] = []
    with play(tmp_path) as side:
        broker, hasty = side.broker(retries=1), side.broker(timeout_s=SHORT_S, retries=0)
        texts += [repr(broker), repr(broker._calls), str(vars(broker._calls))]
        for fault in (
            Fault("status", 401, body=echo),
            Fault("status", 403, body=echo),
            Fault("status", 422, body=echo),
            Fault("status", 503, body=echo),
            Fault("hang"),
            Fault("reset"),
            Fault("garbage", body=echo),
            Fault("garbage", body="not JSON " + key + secret),
        ):
            one = hasty if fault.kind == "hang" else broker
            for call in (one.account, one.positions, partial(one.submit, BUY)):
                side.faults(fault, fault, fault)
                try:
                    call()
                except BrokerError as error:
                    behind = [error.__cause__, error.__context__]
                    texts += [repr(error), *traceback.format_exception(error), repr(behind)]
                side.server.faults.script.clear()
        assert broker.submit(BUY).status == "filled"
    assert len(texts) > 15
    texts += [caplog.text, *capfd.readouterr()]
    texts += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert "urllib3.connectionpool" in {record.name for record in caplog.records}
    for text in texts:
        assert key not in text
        assert secret not in text

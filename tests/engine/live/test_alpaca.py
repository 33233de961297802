"""The Alpaca adapter, through the real alpaca-py client, against a stand-in that misbehaves."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import traceback
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import GetOrdersRequest, MarketOrderRequest
from alpaca_stand_in import CALENDAR, DAYS, KEYS, closing, make_bars, opening, play
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bench._fake_faults import Fault, Faults
from engine.config.live import AlpacaSettings
from engine.config.settings import Settings
from engine.errors import UsageError
from engine.live import alpaca_records
from engine.live.alpaca import AlpacaBroker
from engine.live.broker import BrokerDownError, BrokerError, OrderRefusedError
from engine.live.brokers import open_broker
from engine.live.clock import FileClock
from engine.live.records import QUOTES, Order

BUY = Order("day-1-A-buy", "A", "buy", 100)


@pytest.fixture
def side(tmp_path):
    with play(tmp_path) as side:
        yield side


def test_a_day_without_faults(side):
    broker = side.broker()
    quotes = broker.quotes(["B", "A", "NOPE"])
    assert quotes.schema == QUOTES
    assert quotes["ticker"].to_list() == ["A", "B"]
    assert set(broker.assets(["A", "NOPE"])) == {"A"}
    report = broker.submit(BUY)
    assert (report.status, report.filled, report.quantity) == ("filled", 100, 100)
    ask = quotes.row(0, named=True)["ask"]
    assert report.average_price == pytest.approx(ask)
    (fill,) = broker.fills(opening(DAYS[30]))
    assert (fill.client_id, fill.quantity, fill.side) == (BUY.client_id, 100, "buy")
    assert broker.positions()["A"].quantity == 100
    account = broker.account()
    assert account.cash == pytest.approx(1e6 - 100 * ask)
    assert account.equity == pytest.approx(1e6 - 100 * ask / 1.0001 * 0.0001)
    assert not account.blocked
    broker.submit(Order("s", "B", "sell", 7))
    assert broker.positions()["B"].quantity == -7
    broker.close()


def test_the_stand_in_answers_as_alpaca_pys_own_models_want(side):
    client = TradingClient(*KEYS.values(), url_override=side.server.url)
    order = MarketOrderRequest(symbol="A", qty=3, side="buy", time_in_force="day")
    sent = client.submit_order(order)
    assert client.get_order_by_id(sent.id).filled_qty == "3.0"
    assert client.get_order_by_client_id(sent.client_order_id).status == "filled"
    assert [one.id for one in client.get_orders(GetOrdersRequest(status="closed"))] == [sent.id]
    assert client.get_all_positions()[0].side == "long"
    assert client.get_account().account_number.startswith("PA")
    assert client.get_asset("A").fractionable
    assert client.get_clock().is_open
    assert client.get_calendar()[0].date <= DAYS[0]


def test_an_order_of_the_night_waits_for_the_open(side):
    broker = side.broker()
    side.clock.wait_until(closing(DAYS[30]) + timedelta(minutes=30))
    assert broker.submit(BUY).status == "accepted"
    side.clock.wait_until(opening(DAYS[31]))
    assert broker.order(BUY.client_id).status == "filled"


def test_cancel_and_expiry(side):
    broker = side.broker()
    far, other = (Order(name, "A", "buy", 10, limit=1.239) for name in ("far", "other"))
    broker.submit(far)
    broker.submit(other)
    assert {post["limit_price"] for post in side.server.posts} == {1.23}
    broker.cancel("far")
    broker.cancel("far")
    broker.cancel("never sent")
    assert broker.order("far").status == "canceled"
    side.clock.wait_until(closing(DAYS[30]))
    assert broker.order("other").status == "expired"


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


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (Order("x", "NOPE", "buy", 1), "not found"),
        (Order("x", "A", "buy", 1e6), "insufficient buying power"),
        (Order("x", "A", "sell", 1.5), "fractional"),
        (Order("x", "B", "sell", 1), "cannot be sold short"),
        (Order("x", "A", "buy", 0), "cannot be traded"),
        (Order("x", "A", "buy", 1, limit=-1.0), "no price"),
    ],
)
def test_refused_orders(tmp_path, order, reason):
    with play(tmp_path, assets={"B": {"easy_to_borrow": False}}) as side:
        broker = side.broker()
        with pytest.raises(OrderRefusedError, match=reason):
            broker.submit(order)
        assert broker.order("x") is None
        assert broker.submit(BUY).status == "filled"
        with pytest.raises(OrderRefusedError, match="insufficient qty available"):
            broker.submit(Order("y", "A", "sell", 150))


def test_tickers_refused_on_a_day(tmp_path):
    with play(tmp_path, reject=1.0) as side, pytest.raises(OrderRefusedError, match="403"):
        side.broker().submit(BUY)


def test_partial_fills_add_up(tmp_path):
    with play(tmp_path, parts=4, seed=3) as side:
        broker = side.broker()
        sent = broker.submit(BUY)
        assert (sent.status, sent.filled) == ("accepted", 0)
        assert broker.account().cash == 1e6
        seen = [broker.order(BUY.client_id)]
        while seen[-1].status != "filled":
            assert broker.positions()["A"].quantity == pytest.approx(seen[-1].filled)
            filled = sum(fill.quantity for fill in broker.fills(opening(DAYS[30])))
            assert filled == pytest.approx(seen[-1].filled)
            account = broker.account()
            assert account.cash == pytest.approx(1e6 - filled * seen[-1].average_price)
            seen.append(broker.order(BUY.client_id))
        assert len(seen) > 1
        assert {report.status for report in seen[:-1]} == {"partially_filled"}
        assert [report.updated for report in seen] == sorted({report.updated for report in seen})
        fills = broker.fills(opening(DAYS[30]))
        assert sum(fill.quantity for fill in fills) == 100
        assert len({fill.fill_id for fill in fills}) == len(fills) == len(seen)


def test_what_nobody_asks_for_is_filled_all_the_same(tmp_path):
    with play(tmp_path, parts=4, seed=3) as side:
        broker = side.broker()
        broker.submit(BUY)
        side.clock.wait_until(opening(DAYS[30]) + timedelta(minutes=2))
        assert broker.positions()["A"].quantity == 100
        assert broker.order(BUY.client_id).status == "filled"


def test_an_update_that_comes_late_changes_nothing(tmp_path):
    with play(tmp_path, parts=4, seed=3) as side:
        broker = side.broker()
        broker.submit(BUY)
        first = broker.order(BUY.client_id)
        side.faults(Fault("stale", path="/v2/orders:by"))
        assert broker.order(BUY.client_id) == first
        for _ in range(4):
            last = broker.order(BUY.client_id)
        side.faults(Fault("stale", path="/v2/orders:by"))
        assert broker.order(BUY.client_id) == last
        assert last.status == "filled"


def test_fills_of_many_pages(tmp_path):
    with play(tmp_path) as side:
        broker = side.broker()
        for number in range(530):
            side.clock.wait_until(opening(DAYS[30]) + timedelta(seconds=number // 100))
            side.server.account.submit(
                {"client_order_id": f"id-{number}", "symbol": "A", "qty": "1", "side": "buy"}
                | {"type": "market", "time_in_force": "day"}
            )
        fills = broker.fills(opening(DAYS[30]))
        assert {fill.client_id for fill in fills} == {f"id-{number}" for number in range(530)}
        assert len(fills) == 530
        assert broker.fills(opening(DAYS[31])) == []
        pages = [query for _, path, query in side.server.asked if path.endswith("FILL")]
        assert len(pages) == 6 + 1
        assert len(side.server.asked) < 20


def test_quotes_of_many_tickers(tmp_path):
    names = [chr(number) for number in range(0x4E00, 0x4E00 + 250)]
    with play(tmp_path, bars=make_bars("".join(names))) as side:
        assert side.broker().quotes(names)["ticker"].to_list() == sorted(names)
        chunks = [query for _, path, query in side.server.asked if path.endswith("latest")]
        assert [len(query["symbols"].split(",")) for query in chunks] == [100, 100, 50]
        assert len(side.broker().assets(names)) == 250


def test_one_unknown_symbol_does_not_take_the_others_away(side):
    bad = '{"message": "invalid symbol: NOPE"}'
    side.faults(
        *[Fault("status", 400, path="/v2/stocks", body=bad)] * 2,
        # The halves of [A, B, NOPE] are [A] and [B, NOPE].
    )
    assert side.broker().quotes(["B", "NOPE", "A"])["ticker"].to_list() == ["B"]


ALPACA_ORDER = {
    "id": "1",
    "client_order_id": "c",
    "symbol": "A",
    "side": "buy",
    "qty": "10",
    "filled_qty": "0",
    "filled_avg_price": None,
    "created_at": "2024-02-01T14:30:00Z",
    "updated_at": "2024-02-01T14:30:00.123456789Z",
}


@pytest.mark.parametrize(
    ("word", "filled", "status"),
    [
        ("new", "0", "accepted"),
        ("accepted", "0", "accepted"),
        ("pending_new", "0", "accepted"),
        ("held", "0", "accepted"),
        ("pending_cancel", "0", "accepted"),
        ("pending_cancel", "4", "partially_filled"),
        ("partially_filled", "4", "partially_filled"),
        ("calculated", "4", "partially_filled"),
        ("filled", "10", "filled"),
        ("canceled", "4", "canceled"),
        ("replaced", "0", "canceled"),
        ("expired", "4", "expired"),
        ("done_for_day", "4", "expired"),
        ("rejected", "0", "rejected"),
        ("of tomorrow", "0", "accepted"),
    ],
)
def test_statuses(word, filled, status):
    raw = {**ALPACA_ORDER, "status": word, "filled_qty": filled, "filled_avg_price": "5"}
    report = alpaca_records.report(raw)
    assert (report.status, report.filled) == (status, float(filled))
    assert report.updated == datetime(2024, 2, 1, 14, 30, 0, 123456, tzinfo=UTC)
    assert (report.reason is None) == (word not in ("replaced", "done_for_day", "of tomorrow"))


def test_every_status_alpaca_py_knows_is_known():
    from alpaca.trading.enums import OrderStatus

    for word in OrderStatus:
        report = alpaca_records.report({**ALPACA_ORDER, "status": word.value})
        assert report.reason in (None, "done_for_day", "replaced")


@pytest.mark.parametrize("quantity", ["-10", "10"])
def test_short_positions_are_negative_however_they_are_told(quantity):
    raw = {"symbol": "A", "qty": quantity, "side": "short", "avg_entry_price": "5"}
    assert alpaca_records.position(raw).quantity == -10


@pytest.mark.parametrize(
    "change", [{"trading_blocked": True}, {"account_blocked": True}, {"status": "SUBMITTED"}]
)
def test_blocked_accounts(change):
    raw = {"status": "ACTIVE", "equity": "1", "cash": "1", **change}
    assert alpaca_records.account(raw).blocked


def test_an_answer_of_another_form_is_one_line(side):
    side.faults(Fault("garbage", body='{"equity": "many"}'))
    with pytest.raises(BrokerError, match="account: its answer is not understood"):
        side.broker().account()


@pytest.mark.parametrize(
    ("changes", "environ", "reason"),
    [
        ({}, {}, "APCA_API_KEY_ID"),
        ({}, {"APCA_API_KEY_ID": "x"}, "APCA_API_SECRET_KEY"),
        ({"account": "live"}, KEYS, "KRONOS_LIVE_TRADING=yes"),
        ({"account": "live"}, {**KEYS, "KRONOS_LIVE_TRADING": "1"}, "KRONOS_LIVE_TRADING=yes"),
        ({"url": "https://api.alpaca.markets"}, KEYS, "KRONOS_LIVE_TRADING=yes"),
        ({"url": "http://example.org"}, KEYS, "unencrypted"),
        ({"data_url": "http://example.org"}, KEYS, "unencrypted"),
        ({"url": "https://key:secret@example.org"}, KEYS, "without user and password"),
    ],
)
def test_who_may_trade(changes, environ, reason):
    with pytest.raises(UsageError, match=reason):
        AlpacaBroker(AlpacaSettings(**changes), environ=environ)


def test_addresses():
    switch = {**KEYS, "KRONOS_LIVE_TRADING": "yes"}
    paper = AlpacaBroker(AlpacaSettings(), environ=switch)
    live = AlpacaBroker(AlpacaSettings(account="live"), environ=switch)
    assert paper._client._base_url == "https://paper-api.alpaca.markets"
    assert live._client._base_url == "https://api.alpaca.markets"


def test_the_paper_broker_on_alpacas_quotes(side, tmp_path):
    live = {"paper": {"quotes": "alpaca"}}
    live["alpaca"] = {"url": side.server.url, "data_url": side.server.url}
    configured = Settings(run={"dir": tmp_path}, live=live)
    broker = open_broker(configured, side.clock, bars=make_bars, environ=KEYS)
    ask = broker.quotes(["A"])["ask"].item()
    assert broker.submit(BUY).average_price == ask
    assert side.server.posts == []
    side.clock.wait_until(opening(DAYS[30]) - timedelta(days=1))
    broker.close()
    again = open_broker(configured, side.clock, bars=make_bars, environ=KEYS)
    assert again.positions()["A"].quantity == 100


def test_open_broker_names(side, tmp_path):
    configured = Settings(run={"dir": tmp_path}, live={"alpaca": {"url": side.server.url}})
    paper = open_broker(configured, side.clock, bars=make_bars)
    assert (paper.name, paper.account().equity) == ("paper", 1e6)
    alpaca = {"broker": "alpaca", "alpaca": {"url": side.server.url}}
    other = open_broker(Settings(live=alpaca), side.clock, environ=KEYS)
    assert (other.name, other.account().equity) == ("alpaca", 1e6)


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
    assert "urllib3" in caplog.text
    for text in texts:
        assert key not in text
        assert secret not in text


def test_a_replays_time_is_the_servers(tmp_path):
    with play(tmp_path) as side:
        FileClock(tmp_path / "now.txt").wait_until(closing(DAYS[40]))
        client = TradingClient(*KEYS.values(), url_override=side.server.url)
        assert client.get_clock().timestamp == closing(DAYS[40])
        assert client.get_clock().next_open == opening(DAYS[41])
        assert CALENDAR.is_session(client.get_calendar()[0].date)


def test_the_stand_in_as_a_process_of_its_own(tmp_path):
    """Its account outlives the clients, and its state is what a driver asserts on."""
    make_bars().write_parquet(tmp_path / "bars.parquet")
    clock = FileClock(tmp_path / "now.txt", opening(DAYS[30]))
    command = [sys.executable, "-m", "engine.bench._fake_alpaca", "--faults", "1"]
    command += ["--clock", str(tmp_path / "now.txt"), "--bars", str(tmp_path / "bars.parquet")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = json.loads(process.stdout.readline())["url"]
            own = AlpacaSettings(url=url, data_url=url)
            for _ in range(2):
                broker = AlpacaBroker(own, environ=KEYS, wait=lambda _: None)
                assert broker.submit(BUY).quantity == 100
                broker.close()
            clock.wait_until(opening(DAYS[31]))
            with urllib.request.urlopen(f"{url}/_fake/state") as answer:
                state = json.load(answer)
        finally:
            process.kill()
    assert state["filled"] == state["ordered"] == {BUY.client_id: 100.0}
    assert datetime.fromisoformat(state["now"]) == opening(DAYS[31])
    assert state["sent_again"] == len(state["posts"]) - 1

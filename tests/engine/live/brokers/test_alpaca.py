"""The Alpaca adapter, through the real alpaca-py client, against a stand-in that misbehaves."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from datetime import datetime, timedelta

import pytest
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import GetOrdersRequest, MarketOrderRequest
from alpaca_stand_in import BUY, CALENDAR, DAYS, KEYS, closing, make_bars, opening, play

from engine.bench.private.fake_faults import Fault
from engine.config.live import AlpacaSettings
from engine.live.brokers.alpaca.broker import AlpacaBroker
from engine.live.brokers.broker import QUOTES, Order, OrderRefusedError
from engine.live.clock import FileClock


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
    command = [sys.executable, "-m", "engine.bench.private.fake_alpaca", "--faults", "1"]
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

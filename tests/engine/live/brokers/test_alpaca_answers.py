"""What the adapter makes of Alpaca's words, and who may trade with it at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from alpaca_stand_in import BUY, DAYS, KEYS, make_bars, opening

from engine.bench.private.fake_faults import Fault
from engine.config.live import AlpacaSettings
from engine.config.settings import Settings
from engine.errors import UsageError
from engine.live.brokers import open_broker
from engine.live.brokers.alpaca import answers
from engine.live.brokers.alpaca.broker import AlpacaBroker
from engine.live.brokers.broker import BrokerError

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
    report = answers.report(raw)
    assert (report.status, report.filled) == (status, float(filled))
    assert report.updated == datetime(2024, 2, 1, 14, 30, 0, 123456, tzinfo=UTC)
    assert (report.reason is None) == (word not in ("replaced", "done_for_day", "of tomorrow"))


def test_every_status_alpaca_py_knows_is_known():
    from alpaca.trading.enums import OrderStatus

    for word in OrderStatus:
        report = answers.report({**ALPACA_ORDER, "status": word.value})
        assert report.reason in (None, "done_for_day", "replaced")


@pytest.mark.parametrize("quantity", ["-10", "10"])
def test_short_positions_are_negative_however_they_are_told(quantity):
    raw = {"symbol": "A", "qty": quantity, "side": "short", "avg_entry_price": "5"}
    assert answers.position(raw).quantity == -10


@pytest.mark.parametrize(
    "change", [{"trading_blocked": True}, {"account_blocked": True}, {"status": "SUBMITTED"}]
)
def test_blocked_accounts(change):
    raw = {"status": "ACTIVE", "equity": "1", "cash": "1", **change}
    assert answers.account(raw).blocked


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
